"""The providers: what each speaks, where each is, and how it is reached."""
