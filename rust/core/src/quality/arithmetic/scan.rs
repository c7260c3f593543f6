//! Finding the expression that ends at an equals sign, and the one that begins behind it.
//!
//! Prose stands around equations without any mark between them, so the scan is a small state machine:
//! it either expects an operand or has one, and what does not fit ends the expression (behind the
//! sign) or begins a new one (before it). Doubt about where an expression begins means no judgement.

use super::lex::{Kind, Token};
use super::vocabulary::LEADS;

/// A piece of an expression, resolved: units and comments are gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    /// The token with the number.
    Number(usize),
    Plus,
    Minus,
    Times,
    Divide,
    /// A division written without spaces, which may bind closer: `12 / 2/5`.
    Fraction,
    Power,
    /// A multiplication that may be meant by a parenthesis behind a number: `2(3 + 4)`.
    Implied,
    Open,
    Close,
}

/// An expression.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expression {
    pub(crate) items: Vec<Item>,
    /// Items of the first operand alone.
    pub(crate) first: usize,
    /// Binary operations.
    pub(crate) operations: usize,
    /// A parenthesis behind a number may be a multiplication or a remark.
    pub(crate) ambiguous: bool,
    /// A parenthesis with words and numbers was left out: a mismatch proves nothing.
    pub(crate) doubtful: bool,
    /// First and last token.
    pub(crate) tokens: (usize, usize),
}

impl Expression {
    fn clear(&mut self) {
        self.items.clear();
        self.first = 0;
        self.operations = 0;
        self.ambiguous = false;
        self.doubtful = false;
    }
}

/// Tokens with what the scan needs to know of each.
pub(crate) struct Tokens<'a> {
    pub(crate) text: &'a str,
    pub(crate) all: &'a [Token],
    /// For a parenthesis, the other one of its pair; itself when it has none.
    partner: Vec<u32>,
    /// How many numbers, and how many words, stand before each token.
    numbers: Vec<u32>,
    words: Vec<u32>,
}

/// More words than this between a number and an operator are prose, not a unit.
const MAX_UNIT_WORDS: usize = 7;

#[expect(
    clippy::cast_possible_truncation,
    reason = "texts are far below 4 G tokens"
)]
fn small(index: usize) -> u32 {
    index as u32
}

impl<'a> Tokens<'a> {
    pub(crate) fn new(text: &'a str, all: &'a [Token]) -> Self {
        let mut partner: Vec<u32> = (0..all.len()).map(small).collect();
        let mut numbers = Vec::with_capacity(all.len() + 1);
        let mut words = Vec::with_capacity(all.len() + 1);
        let (mut number_count, mut word_count) = (0, 0);
        let mut open = Vec::new();
        for (index, token) in all.iter().enumerate() {
            numbers.push(number_count);
            words.push(word_count);
            match token.kind {
                Kind::Number { .. } | Kind::Poison => number_count += 1,
                Kind::Word | Kind::Of | Kind::Scale => word_count += 1,
                Kind::Open => open.push(index),
                Kind::Close => {
                    if let Some(start) = open.pop() {
                        partner[start] = small(index);
                        partner[index] = small(start);
                    }
                }
                Kind::Break | Kind::Newline => open.clear(),
                _ => {}
            }
        }
        numbers.push(number_count);
        words.push(word_count);
        Self {
            text,
            all,
            partner,
            numbers,
            words,
        }
    }

    fn kind(&self, index: usize) -> Option<Kind> {
        self.all.get(index).map(|token| token.kind)
    }

    pub(crate) fn str(&self, index: usize) -> &'a str {
        let token = self.all[index];
        &self.text[token.start..token.end]
    }

    /// The expression that ends the segment `from..to`, if there is one without doubt.
    /// `continues` says that the segment begins behind an equals sign.
    pub(crate) fn suffix(
        &self,
        from: usize,
        to: usize,
        continues: bool,
        out: &mut Expression,
    ) -> bool {
        // What opens and does not close before the sign lies outside.
        let mut start = from;
        let mut index = to;
        while index > from {
            index -= 1;
            match self.all[index].kind {
                Kind::Close => {
                    let open = self.partner[index] as usize;
                    if open == index || open < from {
                        start = index + 1;
                        break;
                    }
                    index = open;
                }
                Kind::Open => {
                    start = index + 1;
                    break;
                }
                _ => {}
            }
        }
        let mut scan = Scan::new(self, start, to, out);
        scan.fresh = continues && start == from;
        scan.run(true);
        let good = scan.has_operand && !scan.poisoned && scan.complete == scan.out.items.len();
        scan.out.tokens = (scan.begin, to - 1);
        good
    }

    /// The expression that begins the segment `from..to`, if there is one without doubt.
    pub(crate) fn prefix(&self, from: usize, to: usize, out: &mut Expression) -> bool {
        let mut scan = Scan::new(self, from, to, out);
        scan.fresh = true;
        let end = scan.run(false);
        let good = scan.complete > 0 && !scan.poisoned;
        let (complete, operations) = (scan.complete, scan.complete_operations);
        out.items.truncate(complete);
        out.operations = operations;
        out.tokens = (from, end.saturating_sub(1).max(from));
        good
    }
}

#[expect(
    clippy::struct_excessive_bools,
    reason = "each is one fact about what was read"
)]
struct Scan<'t, 'a> {
    tokens: &'t Tokens<'a>,
    from: usize,
    to: usize,
    out: &'t mut Expression,
    begin: usize,
    /// An operand stands; an operator may follow.
    has_operand: bool,
    poisoned: bool,
    /// Words since the last operand.
    words: usize,
    /// Open parentheses of the expression.
    depth: usize,
    /// Items up to the last complete operand outside parentheses, and the operations in them.
    complete: usize,
    complete_operations: usize,
    /// The last operator was `of`: words may stand before its operand.
    after_of: bool,
    /// Nothing but an equals sign stands before the expression.
    fresh: bool,
    /// What stands before the expression has been looked at.
    begun: bool,
}

enum Next {
    /// The token is used up.
    Go,
    /// Skip to behind this token.
    Skip(usize),
    /// What stands here does not belong to the expression.
    End,
}

impl<'t, 'a> Scan<'t, 'a> {
    fn new(tokens: &'t Tokens<'a>, from: usize, to: usize, out: &'t mut Expression) -> Self {
        out.clear();
        Self {
            tokens,
            from,
            to,
            out,
            begin: from,
            has_operand: false,
            poisoned: false,
            words: 0,
            depth: 0,
            complete: 0,
            complete_operations: 0,
            after_of: false,
            fresh: false,
            begun: false,
        }
    }

    /// Runs over the segment; before a sign (`restarting`) what does not fit begins anew.
    /// Returns the token it stopped at.
    fn run(&mut self, restarting: bool) -> usize {
        let mut index = self.from;
        while index < self.to {
            match self.step(index, restarting) {
                Next::Go => index += 1,
                Next::Skip(last) => index = last + 1,
                Next::End if !restarting => return index,
                Next::End if self.depth > 0 => {
                    self.poisoned = true; // inside a parenthesis nothing begins anew
                    index += 1;
                }
                Next::End => {
                    let number = self.tokens.all[index].is_number() && self.has_operand;
                    let poisoned = number && self.begins_in_doubt(index);
                    index += usize::from(!number);
                    self.restart(index);
                    self.poisoned = poisoned;
                    self.begun = number;
                }
            }
        }
        self.to
    }

    fn restart(&mut self, begin: usize) {
        self.out.clear();
        self.begin = begin;
        self.has_operand = false;
        self.poisoned = false;
        self.words = 0;
        self.depth = 0;
        self.complete = 0;
        self.complete_operations = 0;
        self.after_of = false;
        self.fresh = false;
        self.begun = false;
    }

    fn step(&mut self, index: usize, restarting: bool) -> Next {
        let kind = self.tokens.all[index].kind;
        match kind {
            Kind::Number { .. } => self.number(index, restarting),
            Kind::Open => self.open(index),
            Kind::Close => self.close(index),
            Kind::Plus | Kind::Minus => self.sign(index, kind, restarting),
            Kind::Times | Kind::Divide | Kind::Power => {
                if self.has_operand {
                    self.operator(match kind {
                        Kind::Times => Item::Times,
                        Kind::Divide if self.is_tight(index) => Item::Fraction,
                        Kind::Divide => Item::Divide,
                        _ => Item::Power,
                    });
                    if kind == Kind::Power && matches!(self.tokens.str(index), "²" | "³") {
                        self.operand(Item::Number(index));
                    }
                } else {
                    self.poisoned = true;
                }
                Next::Go
            }
            Kind::Word | Kind::Approximately => self.word(index, restarting),
            Kind::Of => self.of(index, restarting),
            Kind::Scale | Kind::Poison => {
                if !restarting && self.has_operand && self.words > 0 && kind == Kind::Poison {
                    return Next::End;
                }
                self.poisoned = true;
                self.has_operand = true;
                Next::Go
            }
            Kind::Equals | Kind::Newline | Kind::Break => Next::End,
        }
    }

    fn is_tight(&self, index: usize) -> bool {
        let token = self.tokens.all[index];
        let around = |at: usize| self.tokens.text.as_bytes().get(at).copied();
        token.end == token.start + 1
            && around(token.end).is_some_and(|byte| byte.is_ascii_digit())
            && token
                .start
                .checked_sub(1)
                .and_then(around)
                .is_some_and(|byte| byte.is_ascii_digit())
    }

    fn operand(&mut self, item: Item) {
        self.out.items.push(item);
        self.operand_stands();
    }

    fn operand_stands(&mut self) {
        self.has_operand = true;
        self.words = 0;
        self.after_of = false;
        if self.depth == 0 {
            self.complete = self.out.items.len();
            self.complete_operations = self.out.operations;
            if self.out.first == 0 {
                self.out.first = self.complete;
            }
        }
    }

    fn operator(&mut self, item: Item) {
        self.out.items.push(item);
        self.out.operations += 1;
        self.has_operand = false;
        self.words = 0;
    }

    fn number(&mut self, index: usize, restarting: bool) -> Next {
        if !self.has_operand {
            if restarting
                && self.out.items.is_empty()
                && self.begin == index
                && !self.fresh
                && !self.begun
            {
                self.poisoned |= self.begins_in_doubt(index);
            }
            if let Some(last) = self.mixed(index) {
                self.out.items.extend([
                    Item::Open,
                    Item::Number(index),
                    Item::Plus,
                    Item::Number(index + 1),
                ]);
                if last > index + 1 {
                    self.out.items.extend([Item::Fraction, Item::Number(last)]);
                }
                self.operand(Item::Close);
                return Next::Skip(last);
            }
            self.operand(Item::Number(index));
            return Next::Go;
        }
        Next::End
    }

    /// The last token of a mixed number such as `2 1/2` or `2½` that begins here.
    fn mixed(&self, index: usize) -> Option<usize> {
        let tokens = self.tokens;
        let digits = |at: usize| {
            tokens
                .all
                .get(at)
                .is_some_and(|token| token.is_number() && at < self.to)
                .then(|| tokens.str(at))
                .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|text| text.parse::<u64>().ok())
        };
        let whole = digits(index)?;
        let next = tokens.all.get(index + 1).filter(|_| index + 1 < self.to)?;
        if next.is_number() && "½¼¾⅓⅔⅛".contains(tokens.str(index + 1)) {
            return Some(index + 1);
        }
        let numerator = digits(index + 1)?;
        let slash = tokens.kind(index + 2)? == Kind::Divide && tokens.str(index + 2) == "/";
        let denominator = digits(index + 3)?;
        (slash && whole > 0 && 0 < numerator && numerator < denominator && denominator <= 100)
            .then_some(index + 3)
    }

    fn open(&mut self, index: usize) -> Next {
        let tokens = self.tokens;
        let close = tokens.partner[index] as usize;
        if close == index || close >= self.to {
            return Next::End;
        }
        if !self.has_operand {
            self.out.items.push(Item::Open);
            self.depth += 1;
            return Next::Go;
        }
        // Behind an operand: a remark, or a multiplication that is not written.
        let count = |sums: &[u32]| sums[close] - sums[index + 1];
        if count(&tokens.numbers) == 0 {
            return Next::Skip(close);
        }
        if count(&tokens.words) > 0 || self.words > 0 {
            self.out.doubtful = true;
            return Next::Skip(close);
        }
        self.out.ambiguous = true;
        self.operator(Item::Implied);
        self.out.items.push(Item::Open);
        self.depth += 1;
        Next::Go
    }

    fn close(&mut self, index: usize) -> Next {
        if self.depth == 0 || self.tokens.partner[index] as usize == index {
            return Next::End;
        }
        if !self.has_operand {
            self.poisoned = true;
        }
        self.depth -= 1;
        self.out.items.push(Item::Close);
        self.operand_stands();
        Next::Go
    }

    fn sign(&mut self, index: usize, kind: Kind, restarting: bool) -> Next {
        let item = if kind == Kind::Plus {
            Item::Plus
        } else {
            Item::Minus
        };
        if self.has_operand {
            if !restarting && self.depth == 0 && kind == Kind::Minus && !self.operand_follows(index)
            {
                return Next::End; // a dash
            }
            if self.words >= 2 && kind == Kind::Minus && self.is_negative_sign(index) {
                self.poisoned = true; // prose, then a negative number
            }
            self.operator(item);
            return Next::Go;
        }
        match self.out.items.last() {
            // A sign of the operand that follows.
            Some(
                Item::Plus
                | Item::Minus
                | Item::Times
                | Item::Divide
                | Item::Fraction
                | Item::Power,
            ) => {
                if !self.operand_follows(index) {
                    self.poisoned = true;
                }
            }
            Some(_) => {}
            None => {
                if restarting && !self.fresh && self.sign_in_doubt(index) {
                    self.poisoned = true;
                }
                if !self.operand_follows(index) {
                    self.poisoned = true;
                }
            }
        }
        self.out.items.push(item);
        Next::Go
    }

    /// A minus that hugs its number, behind a space.
    fn is_negative_sign(&self, index: usize) -> bool {
        let token = self.tokens.all[index];
        let text = self.tokens.text;
        text[..token.start].ends_with(' ') && !text[token.end..].starts_with(' ')
    }

    fn operand_follows(&self, index: usize) -> bool {
        index + 1 < self.to
            && matches!(
                self.tokens.all[index + 1].kind,
                Kind::Number { .. } | Kind::Open | Kind::Poison
            )
    }

    /// A sign that begins an expression is a sign only where nothing else can stand before it.
    fn sign_in_doubt(&self, index: usize) -> bool {
        let text = self.tokens.text;
        let token = self.tokens.all[index];
        let attached = !text[token.end..].starts_with(' ');
        match index
            .checked_sub(1)
            .and_then(|before| self.tokens.kind(before))
        {
            None | Some(Kind::Newline | Kind::Equals | Kind::Approximately | Kind::Open) => false,
            Some(Kind::Break) => !(attached && text[..token.start].ends_with(": ")),
            Some(Kind::Word) => !(attached && text[..token.start].ends_with(' ')),
            Some(_) => true,
        }
    }

    fn word(&mut self, index: usize, restarting: bool) -> Next {
        if self.has_operand {
            self.words += 1;
            return if self.words > MAX_UNIT_WORDS {
                Next::End
            } else {
                Next::Go
            };
        }
        if self.after_of && self.words < 2 {
            self.words += 1;
            return Next::Go;
        }
        if self.out.items.is_empty() && !self.poisoned {
            if !restarting {
                return Next::End;
            }
            self.begin = index + 1;
            self.fresh = false;
            return Next::Go;
        }
        self.poisoned = true; // a word where an operand must stand is a variable
        Next::Go
    }

    /// `of` multiplies behind a percentage or a fraction; else it is a word like others.
    fn of(&mut self, index: usize, restarting: bool) -> Next {
        let items = &self.out.items;
        let percent = matches!(items.last(), Some(&Item::Number(at))
            if matches!(self.tokens.kind(at), Some(Kind::Number { percent: true, .. })));
        let fraction = matches!(
            items[..],
            [
                ..,
                Item::Number(_),
                Item::Fraction | Item::Divide,
                Item::Number(_)
            ]
        );
        if self.has_operand && self.words == 0 && (percent || fraction) {
            self.operator(Item::Times);
            self.after_of = true;
            return Next::Go;
        }
        self.word(index, restarting)
    }

    /// Whether what stands before the expression may belong to it.
    fn begins_in_doubt(&self, begin: usize) -> bool {
        let tokens = self.tokens;
        // A compound such as `5 feet 8 inches`, unless it is the result of the equation before.
        let after_result = self.fresh && self.out.operations == 0;
        if self.has_operand && self.words <= 2 && !after_result {
            return true;
        }
        let Some(before) = begin.checked_sub(1) else {
            return false;
        };
        match tokens.all[before].kind {
            Kind::Scale | Kind::Poison => true,
            // A part of a number; or the name of a quantity: `the price of 2 chairs / 2`.
            Kind::Of => {
                tokens.kind(begin + 1) == Some(Kind::Word)
                    || before.checked_sub(1).is_some_and(|at| {
                        tokens.all[at].is_number() || tokens.all[at].kind == Kind::Scale
                    })
            }
            Kind::Word => !after_result && LEADS.has_word(tokens.str(before)),
            _ => false,
        }
    }
}
