//! Python's indentation, which the grammar takes as it comes.

/// Where the indentation of a text that parses breaks Python's rules: a block's body that is not
/// indented, an indented line that no block begins, a line that returns to no earlier indentation.
pub(super) fn fault(text: &str) -> Option<usize> {
    let mut scanner = Scanner {
        bytes: text.as_bytes(),
        at: 0,
    };
    let mut levels: Vec<usize> = Vec::new();
    let mut opens = false;
    while let Some(line) = scanner.logical_line() {
        let Some(&level) = levels.last() else {
            levels.push(line.indent);
            opens = line.opens;
            continue;
        };
        if opens && line.indent <= level {
            return Some(line.start);
        }
        if line.indent > level {
            if !opens {
                return Some(line.start);
            }
            levels.push(line.indent);
        } else if line.indent < level {
            while levels.last().is_some_and(|top| *top > line.indent) {
                levels.pop();
            }
            // A piece may go on with code that stands further left than its first line.
            match levels.last() {
                None => levels.push(line.indent),
                Some(top) if *top == line.indent => {}
                Some(_) => return Some(line.start),
            }
        }
        opens = line.opens;
    }
    None
}

struct Line {
    start: usize,
    indent: usize,
    /// Whether it ends with a colon, so that a block follows.
    opens: bool,
}

struct Scanner<'t> {
    bytes: &'t [u8],
    at: usize,
}

impl Scanner<'_> {
    fn byte(&self, at: usize) -> u8 {
        self.bytes.get(at).copied().unwrap_or(0)
    }

    /// The next line that is not blank nor, unless a body is awaited, a comment: with what brackets,
    /// strings and backslashes join to it.
    fn logical_line(&mut self) -> Option<Line> {
        loop {
            let start = self.at;
            let mut indent = 0;
            while matches!(self.byte(self.at), b' ' | b'\t' | 0x0c) {
                indent += if self.byte(self.at) == b'\t' {
                    8 - indent % 8
                } else {
                    1
                };
                self.at += 1;
            }
            if self.at >= self.bytes.len() {
                return None;
            }
            if matches!(self.byte(self.at), b'\n' | b'\r' | b'#') {
                self.skip_line();
                continue;
            }
            return Some(Line {
                start,
                indent,
                opens: self.rest_of_line(),
            });
        }
    }

    fn skip_line(&mut self) {
        while self.at < self.bytes.len() && self.byte(self.at) != b'\n' {
            self.at += 1;
        }
        self.at += 1;
    }

    /// Reads to the end of the logical line; whether its last mark is a colon.
    fn rest_of_line(&mut self) -> bool {
        let (mut depth, mut last) = (0_usize, 0_u8);
        while self.at < self.bytes.len() {
            let byte = self.byte(self.at);
            match byte {
                b'\n' if depth == 0 => {
                    self.at += 1;
                    break;
                }
                b'#' => {
                    while self.at < self.bytes.len() && self.byte(self.at) != b'\n' {
                        self.at += 1;
                    }
                    continue;
                }
                b'\\' => self.at += 1,
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' => depth = depth.saturating_sub(1),
                b'"' | b'\'' => self.string(byte),
                _ => {}
            }
            if !byte.is_ascii_whitespace() {
                last = byte;
            }
            self.at += 1;
        }
        last == b':'
    }

    /// Stops at the string's last byte.
    fn string(&mut self, mark: u8) {
        let triple = self.byte(self.at + 1) == mark && self.byte(self.at + 2) == mark;
        self.at += if triple { 3 } else { 1 };
        while self.at < self.bytes.len() {
            match self.byte(self.at) {
                b'\\' => self.at += 1,
                b'\n' if !triple => {
                    self.at -= 1;
                    return;
                }
                byte if byte == mark && !triple => return,
                byte if byte == mark
                    && self.byte(self.at + 1) == mark
                    && self.byte(self.at + 2) == mark =>
                {
                    self.at += 2;
                    return;
                }
                _ => {}
            }
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_python_would_not_indent_so() {
        for text in [
            "def f():\nreturn 1\n",
            "x = 1\n  y = 2\n",
            "if a:\n    b\n  c\n",
            "def f():\n    x = 1\n      y = 2\n",
            "for x in y:\n# a remark\nprint(x)\n",
        ] {
            assert!(fault(text).is_some(), "{text}");
        }
    }

    #[test]
    fn takes_what_python_takes() {
        for text in [
            "",
            "def f():\n    return 1\n\nx = 1\n",
            "if a:\n\tb\nelse:\n\tc\n",
            "x = [\n1,\n  2,\n]\ny = '''\n  a\nb'''\n",
            "    x = 1\n    y = 2\n",
            "class A:\n    '''doc: '''\n    # remark\n\n    def f(self):  # remark:\n        return {1: 2}\n\n    y = 1\n",
            "if a: b\nc\n",
            "x = a if b \\\n  else c\n",
            "def f(x):",
            "s = 'it\\'s: '\nt = \"a:\"\n",
            "    def f(self):\n        pass\nx = 1\n",
        ] {
            assert_eq!(fault(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_read_to_its_end(text in "[a: \\t\\n()'\"#\\\\]{0,80}") {
            let _ = fault(&text);
        }
    }
}
