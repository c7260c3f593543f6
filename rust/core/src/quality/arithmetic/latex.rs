//! The LaTeX that models write: commands and braces.

use super::lex::{Kind, Lexer, Token};

/// What an open brace stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Brace {
    Group,
    Numerator,
    Denominator,
    Silent,
}

impl Lexer<'_> {
    pub(super) fn open_brace(&mut self) {
        self.braces.push(Brace::Group);
        self.emit(Kind::Open, 1);
    }

    pub(super) fn close_brace(&mut self) {
        match self.braces.pop() {
            Some(Brace::Numerator) => {
                self.emit(Kind::Close, 1);
                if self.byte(self.at) == b'{' {
                    let here = self.at;
                    self.push_at(Kind::Divide, here);
                    self.push_at(Kind::Open, here);
                    self.at += 1;
                    self.braces.push(Brace::Denominator);
                } else {
                    self.push_at(Kind::Poison, self.at);
                }
            }
            Some(Brace::Denominator) => {
                self.push_at(Kind::Close, self.at);
                self.emit(Kind::Close, 1);
            }
            Some(Brace::Silent) => self.at += 1,
            Some(Brace::Group) | None => self.emit(Kind::Close, 1),
        }
    }

    fn push_at(&mut self, kind: Kind, at: usize) {
        self.out.tokens.push(Token {
            kind,
            start: at,
            end: at,
        });
    }

    /// A LaTeX command.
    pub(super) fn command(&mut self) {
        let rest = &self.bytes[self.at + 1..];
        let length = rest.iter().take_while(|b| b.is_ascii_alphabetic()).count();
        if length == 0 {
            match rest.first() {
                Some(b'%') => {
                    self.at += 1;
                    self.mark_percent(1);
                }
                Some(b'\\') => self.emit(Kind::Newline, 2),
                Some(b'(' | b')' | b'[' | b']') => self.emit(Kind::Break, 2),
                Some(b',' | b';' | b'!' | b' ' | b':' | b'$') => self.at += 2,
                _ => self.emit(Kind::Break, 1),
            }
            return;
        }
        let name = &self.text[self.at + 1..=self.at + length];
        match name {
            "times" | "cdot" | "ast" => self.emit(Kind::Times, length + 1),
            "div" => self.emit(Kind::Divide, length + 1),
            "approx" | "simeq" => self.emit(Kind::Approximately, length + 1),
            "frac" | "dfrac" | "tfrac" if rest.get(length) == Some(&b'{') => {
                self.push_at(Kind::Open, self.at);
                self.at += length + 1;
                self.emit(Kind::Open, 1);
                self.braces.push(Brace::Numerator);
            }
            "text" | "mathrm" | "textbf" | "mathbf" | "boxed" | "operatorname" | "mathit" => {
                self.at += length + 1;
                if self.byte(self.at) == b'{' {
                    self.at += 1;
                    self.braces.push(Brace::Silent);
                }
            }
            "left" | "right" | "quad" | "qquad" | "displaystyle" | "big" | "Big" => {
                self.at += length + 1;
            }
            "implies" | "Rightarrow" | "rightarrow" | "to" | "neq" | "ne" | "begin" | "end" => {
                self.emit(Kind::Break, length + 1);
            }
            _ => self.emit(Kind::Poison, length + 1),
        }
    }
}
