"""`cascadeflow quality`: how well drafts are judged, on labelled answers."""
