//! What form a text has: its lists, whether it is code.

/// How many items a text's lists have, counted in every way that makes sense: all numbered lines,
/// all top-level bullets, all bullets; `None` when there is no list of at least two.
#[must_use]
pub fn list_items(text: &str) -> Option<Vec<usize>> {
    let (mut numbered, mut top, mut all, mut headings) = (0_usize, 0_usize, 0_usize, 0_usize);
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
        if is_numbered(bare) {
            numbered += usize::from(indent < 3);
        } else if is_bullet(content) {
            all += 1;
            top += usize::from(indent < 2);
        }
        headings += usize::from(
            content.starts_with("##")
                || (content.starts_with("**") && content.trim_end().ends_with("**")),
        );
    }
    let mut counts: Vec<usize> = [numbered, top, all, headings]
        .into_iter()
        .filter(|count| *count >= 2)
        .collect();
    counts.sort_unstable();
    counts.dedup();
    (numbered >= 2 || all >= 2).then_some(counts)
}

fn is_numbered(line: &str) -> bool {
    let digits = line.bytes().take_while(u8::is_ascii_digit).count();
    let rest = &line[digits..];
    (1..=3).contains(&digits)
        && (rest.starts_with(". ")
            || rest.starts_with(") ")
            || rest.starts_with(".\t")
            || rest.starts_with('、')
            || rest.starts_with(".**")
            || rest.starts_with(": "))
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
        code += usize::from(ends || SIGNS.iter().any(|sign| line.contains(sign)));
    }
    // A one-line query or expression, or a fair share of the lines; inline code counts as code.
    code >= 1 && (code * 3 >= lines || code >= 3) || text.matches('`').count() >= 2
}
