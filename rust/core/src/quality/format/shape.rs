//! What form a text has: its lists, whether it is code.

/// A text's list items, counted in every way that makes sense.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Numbered lines.
    pub numbered: usize,
    /// The highest number among them.
    pub highest: usize,
    /// Bullets that are not indented.
    pub bullets: usize,
    /// All bullets.
    pub all_bullets: usize,
    /// Headings, and lines that are bold as a whole.
    pub headings: usize,
}

impl Counts {
    /// Each count that may be that of a list.
    #[must_use]
    pub fn ways(&self) -> Vec<usize> {
        [
            self.numbered,
            self.highest,
            self.bullets,
            self.all_bullets,
            self.headings,
        ]
        .into_iter()
        .filter(|count| *count >= 2)
        .collect()
    }
}

/// Counts a text's list items; `None` when there is no list of at least two.
#[must_use]
pub fn list_items(text: &str) -> Option<Counts> {
    let mut counts = Counts::default();
    let mut fenced = false;
    for line in text.lines() {
        let content = line.trim_start();
        if content.starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        let indent = line.len() - content.len();
        let bare = content.trim_start_matches(['*', '_', '#', ' ']);
        if let Some(number) = list_number(bare) {
            if indent < 3 {
                counts.numbered += 1;
                counts.highest = counts.highest.max(number);
            }
        } else if is_bullet(content) {
            counts.all_bullets += 1;
            counts.bullets += usize::from(indent < 2);
        }
        let bold = content.starts_with("**") && content.trim_end().ends_with("**");
        counts.headings += usize::from(content.starts_with("##") || bold);
    }
    (counts.numbered >= 2 || counts.all_bullets >= 2).then_some(counts)
}

/// The number that a list's line begins with.
fn list_number(line: &str) -> Option<usize> {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let rest = &line[digits..];
    let marks = [". ", ") ", ".\t", "、", ".**", ": "];
    ((1..=3).contains(&digits) && marks.iter().any(|mark| rest.starts_with(mark)))
        .then(|| line[..digits].parse().ok())?
}

fn is_bullet(line: &str) -> bool {
    ["- ", "* ", "• ", "+ ", "– ", "‣ ", "◦ "]
        .iter()
        .any(|mark| line.starts_with(mark))
}

/// Whether a text without fences looks like code: enough of its lines do.
#[must_use]
pub fn looks_like_code(text: &str) -> bool {
    const SIGNS: [&str; 26] = [
        "def ",
        "function ",
        "return ",
        "import ",
        "#include",
        "class ",
        "public ",
        "private ",
        "const ",
        "let ",
        "var ",
        "fn ",
        "SELECT ",
        "select ",
        "for (",
        "while (",
        "if (",
        "print(",
        "console.",
        "=>",
        "</",
        "/>",
        "#!/",
        "echo ",
        "INSERT ",
        "CREATE ",
    ];
    let (mut lines, mut code) = (0_usize, 0_usize);
    for line in text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .take(2000)
    {
        lines += 1;
        let ends = line.ends_with([';', '{', '}']) || line.ends_with("):");
        let block = line.ends_with(':')
            && ["for ", "if ", "while ", "elif ", "else", "try", "with "]
                .iter()
                .any(|start| line.starts_with(start));
        code += usize::from(ends || block || SIGNS.iter().any(|sign| line.contains(sign)));
    }
    // A one-line query or expression, or a fair share of the lines; inline code counts as code.
    code >= 1 && (code * 3 >= lines || code >= 3) || text.matches('`').count() >= 2
}
