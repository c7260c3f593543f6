//! How far the sentences of an answer are said in the documents that it was given.
//!
//! Each sentence that states something is compared, word by word, with the sentences of the
//! documents; the likeliest of these are named, for a model to compare by meaning.

use super::terms::{numbers, terms};
use crate::quality::words::{WordSet, sentences, snippet, words};
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::LazyLock;

/// A word that stands in more sentences than this says nothing of where to look.
const MOST_PLACES: usize = 500;
/// Sentences of a document that are named for one of the answer.
pub const CANDIDATES: usize = 3;
/// Sentences of an answer that are looked at; the score is that of the worst.
pub const MOST_CLAIMS: usize = 400;
/// Missing numbers and names that are quoted.
const QUOTED: usize = 4;

/// The names of [`Claim::measures`].
pub const NAMES: [&str; 13] = [
    "known anywhere",
    "known in the best sentence",
    "known around it",
    "word pairs known",
    "longest run",
    "numbers missing",
    "numbers missing around it",
    "names missing",
    "names missing around it",
    "negated differently",
    "unknown words",
    "length",
    "opposites",
];

static NEGATIONS: LazyLock<WordSet> = LazyLock::new(|| {
    WordSet::new(
        "no not never none nobody nothing neither nor without cannot can't don't doesn't didn't won't \
         wouldn't isn't aren't wasn't weren't hasn't haven't hadn't shouldn't couldn't fails failed \
         refused refuses denied denies lacks lacked unable nicht kein keine keinen nie niemals ne pas \
         jamais nunca ningún non mai não",
    )
});

/// Pairs of words of which one denies the other.
static OPPOSITES: LazyLock<HashMap<u64, Vec<u64>>> = LazyLock::new(|| {
    let mut found: HashMap<u64, Vec<u64>> = HashMap::new();
    for pair in "increase decrease rise fall rose fell grow shrink grew shrank gain lose won lost win lose \
         accept reject accepted refused approve reject allow ban permit forbid open close before after \
         more fewer more less higher lower larger smaller first last always never all none north south \
         east west left right hot cold warm cool early late begin end start finish buy sell bought sold \
         import export profit loss success failure alive dead born died married divorced guilty innocent \
         safe dangerous cheap expensive strong weak young old young elderly new old male female man woman \
         men women boy girl mother father son daughter brother sister husband wife king queen monday \
         tuesday tuesday wednesday wednesday thursday thursday friday friday saturday saturday sunday \
         morning evening spring autumn summer winter day night minimum maximum majority minority public \
         private legal illegal free paid included excluded optional mandatory required optional above \
         below inside outside upper lower add remove added removed enter leave arrive depart teacher \
         student doctor patient buyer seller landlord tenant employer employee lender borrower \
         millions thousands million billion million thousand hours minutes days weeks weeks months \
         months years better worse best worst most least positive negative true false yes no love hate \
         support oppose supported opposed praise criticise praised criticised convicted acquitted \
         confirm deny confirmed denied increase reduce raised cut"
        .split_whitespace()
        .collect::<Vec<_>>()
        .chunks_exact(2)
    {
        let stems: Vec<u64> = pair.iter().filter_map(|word| stem_of(word)).collect();
        if let [one, other] = stems[..] {
            found.entry(one).or_default().push(other);
            found.entry(other).or_default().push(one);
        }
    }
    found
});

fn stem_of(word: &str) -> Option<u64> {
    terms(word).first().map(|term| term.stem)
}

/// A sentence of an answer that states something, and what the documents have of it.
#[derive(Debug, Clone)]
pub struct Claim {
    /// Where it stands in the answer.
    pub range: Range<usize>,
    /// What was counted, in the order of [`NAMES`]; each 0 to 1.
    pub measures: [f32; NAMES.len()],
    /// The documents' sentences that have most of it, as document and range, best first.
    pub candidates: Vec<(usize, Range<usize>)>,
    /// Its numbers, and names, that stand nowhere in the documents, as far as they are quoted.
    pub missing: Vec<String>,
}

/// A sentence of a document.
struct Place {
    document: usize,
    range: Range<usize>,
    stems: Vec<u64>,
    numbers: Vec<String>,
    negated: bool,
}

/// Documents as they are looked things up in.
pub struct Documents {
    places: Vec<Place>,
    by_stem: HashMap<u64, Vec<u32>>,
    pairs: HashSet<(u64, u64)>,
    numbers: HashSet<String>,
}

impl Documents {
    /// Reads documents, in time linear in their length.
    #[must_use]
    pub fn new(documents: &[&str]) -> Self {
        let mut read = Self {
            places: Vec::new(),
            by_stem: HashMap::new(),
            pairs: HashSet::new(),
            numbers: HashSet::new(),
        };
        for (document, text) in documents.iter().enumerate() {
            for range in sentences(text) {
                read.add(document, text, range);
            }
        }
        read
    }

    fn add(&mut self, document: usize, text: &str, range: Range<usize>) {
        let sentence = &text[range.clone()];
        let stems: Vec<u64> = terms(sentence).iter().map(|term| term.stem).collect();
        let place = u32::try_from(self.places.len()).unwrap_or(u32::MAX);
        for stem in &stems {
            let places = self.by_stem.entry(*stem).or_default();
            if places.last() != Some(&place) {
                places.push(place);
            }
        }
        self.pairs
            .extend(stems.windows(2).map(|pair| (pair[0], pair[1])));
        let numbers: Vec<String> = numbers(sentence)
            .into_iter()
            .map(|(_, _, value)| value)
            .collect();
        self.numbers.extend(numbers.iter().cloned());
        self.places.push(Place {
            document,
            range,
            stems,
            numbers,
            negated: negated(sentence),
        });
    }

    /// How rare a word is among the sentences, and so how much it says; an unknown one says most.
    fn weight(&self, stem: u64) -> f32 {
        let held = self.by_stem.get(&stem).map_or(0, Vec::len);
        #[expect(clippy::cast_precision_loss, reason = "counts of sentences")]
        let (all, held) = (self.places.len() as f32, held as f32);
        ((all + 1.0) / (held + 0.5)).ln().max(0.2)
    }

    /// The sentences of an answer that state something, compared with the documents.
    ///
    /// A sentence that asks, announces what follows, or has nothing but common words states nothing;
    /// an answer of which no sentence states anything is taken as one.
    #[must_use]
    pub fn claims(&self, answer: &str) -> Vec<Claim> {
        let mut scores = vec![0.0_f32; self.places.len()];
        let all = sentences(answer);
        let mut claims: Vec<Claim> = all
            .iter()
            .filter(|range| states_something(&answer[(*range).clone()]))
            .take(MOST_CLAIMS)
            .map(|range| self.claim(answer, range.clone(), &mut scores))
            .collect();
        if claims.is_empty()
            && let (Some(first), Some(last)) = (all.first(), all.last())
        {
            claims.push(self.claim(answer, first.start..last.end, &mut scores));
        }
        claims
    }

    fn claim(&self, answer: &str, range: Range<usize>, scores: &mut [f32]) -> Claim {
        let sentence = &answer[range.clone()];
        let said = terms(sentence);
        let mut stems: Vec<u64> = said.iter().map(|term| term.stem).collect();
        let pairs = share(
            stems
                .windows(2)
                .map(|pair| (1.0, self.pairs.contains(&(pair[0], pair[1])))),
            1.0,
        );
        let candidates = self.nearest(&stems, scores);
        let best = candidates.first().map(|at| &self.places[*at]);
        let around: Vec<&Place> = candidates
            .first()
            .map_or_else(Vec::new, |at| self.around(*at));
        let run = best.map_or(0.0, |best| longest_run(&stems, &best.stems));
        let nearby: HashSet<u64> = around
            .iter()
            .flat_map(|place| place.stems.iter().copied())
            .collect();
        let stated: Vec<String> = numbers(sentence)
            .into_iter()
            .map(|(_, _, value)| value)
            .collect();
        let names = names(sentence, &said);
        let unknown = stems
            .iter()
            .filter(|stem| !self.by_stem.contains_key(stem))
            .count();
        let opposite = stems.iter().any(|stem| {
            !nearby.contains(stem)
                && OPPOSITES
                    .get(stem)
                    .is_some_and(|others| others.iter().any(|other| nearby.contains(other)))
        });
        let nearby_number =
            |value: &String| around.iter().any(|place| place.numbers.contains(value));
        let missing = self.missing(sentence, &names);
        stems.sort_unstable();
        stems.dedup();
        let known = |is_known: &dyn Fn(u64) -> bool| {
            share(
                stems
                    .iter()
                    .map(|stem| (self.weight(*stem), is_known(*stem))),
                0.0,
            )
        };
        let number = |is_known: &dyn Fn(&String) -> bool| {
            share(stated.iter().map(|value| (1.0, !is_known(value))), 0.0)
        };
        let name = |is_known: &dyn Fn(&u64) -> bool| {
            share(names.iter().map(|(stem, _)| (1.0, !is_known(stem))), 0.0)
        };
        let measures = [
            known(&|stem| self.by_stem.contains_key(&stem)),
            known(&|stem| best.is_some_and(|best| best.stems.contains(&stem))),
            known(&|stem| nearby.contains(&stem)),
            pairs,
            run,
            number(&|value| self.numbers.contains(value)),
            number(&nearby_number),
            name(&|stem| self.by_stem.contains_key(stem)),
            name(&|stem| nearby.contains(stem)),
            f32::from(best.is_some_and(|best| best.negated != negated(sentence))),
            ratio(unknown, unknown + 2),
            ratio(stems.len(), stems.len() + 8),
            f32::from(opposite),
        ];
        let candidates = candidates
            .into_iter()
            .map(|at| (self.places[at].document, self.places[at].range.clone()))
            .collect();
        Claim {
            range,
            measures,
            candidates,
            missing,
        }
    }

    /// The sentences that share most with these words, best first, earlier ones first among equals.
    fn nearest(&self, stems: &[u64], scores: &mut [f32]) -> Vec<usize> {
        let mut touched: Vec<usize> = Vec::new();
        let mut distinct = stems.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        for stem in distinct {
            let Some(places) = self.by_stem.get(&stem) else {
                continue;
            };
            let weight = self.weight(stem);
            for place in places.iter().take(MOST_PLACES) {
                let place = *place as usize;
                if scores[place] <= 0.0 {
                    touched.push(place);
                }
                scores[place] += weight;
            }
        }
        // Of two that share as much, the shorter says it more plainly.
        let of = |place: usize| {
            #[expect(clippy::cast_precision_loss, reason = "words of a sentence")]
            let length = self.places[place].stems.len() as f32;
            scores[place] / (8.0 + length).sqrt()
        };
        let mut ranked: Vec<(f32, usize)> =
            touched.iter().map(|place| (of(*place), *place)).collect();
        ranked.sort_by(|left, right| right.0.total_cmp(&left.0).then(left.1.cmp(&right.1)));
        ranked.truncate(CANDIDATES);
        for place in touched {
            scores[place] = 0.0;
        }
        ranked.into_iter().map(|(_, place)| place).collect()
    }

    /// A sentence and its neighbours in the same document.
    fn around(&self, at: usize) -> Vec<&Place> {
        let last = (at + 1).min(self.places.len() - 1);
        self.places[at.saturating_sub(1)..=last]
            .iter()
            .filter(|place| place.document == self.places[at].document)
            .collect()
    }

    fn missing(&self, sentence: &str, names: &[(u64, Range<usize>)]) -> Vec<String> {
        let gone = numbers(sentence)
            .into_iter()
            .filter(|(_, _, value)| !self.numbers.contains(value))
            .map(|(start, end, _)| start..end);
        let strangers = names
            .iter()
            .filter(|(stem, _)| !self.by_stem.contains_key(stem))
            .map(|(_, range)| range.clone());
        gone.chain(strangers)
            .take(QUOTED)
            .map(|range| snippet(&sentence[range], 40))
            .collect()
    }
}

/// Whether a sentence says something that documents may hold or not.
fn states_something(sentence: &str) -> bool {
    if sentence.ends_with([':', '?', '：', '？', '؟']) || sentence.starts_with('#') {
        return false;
    }
    terms(sentence).len() >= 2
}

/// Whether a sentence denies something: an odd number of times.
fn negated(sentence: &str) -> bool {
    words(sentence)
        .iter()
        .filter(|word| NEGATIONS.has(word.hash))
        .count()
        % 2
        == 1
}

/// The words of a sentence that are written as names are: with a capital, not as its first word.
fn names(sentence: &str, said: &[super::terms::Term]) -> Vec<(u64, Range<usize>)> {
    let first = words(sentence).first().map_or(0, |word| word.start);
    said.iter()
        .filter(|term| term.start != first)
        .filter(|term| {
            sentence[term.start..term.end]
                .chars()
                .next()
                .is_some_and(char::is_uppercase)
        })
        .map(|term| (term.stem, term.start..term.end))
        .collect()
}

/// The weighed share of what is so; `empty` where there is nothing.
fn share(parts: impl Iterator<Item = (f32, bool)>, empty: f32) -> f32 {
    let (mut so, mut all) = (0.0, 0.0);
    for (weight, is_so) in parts {
        all += weight;
        if is_so {
            so += weight;
        }
    }
    if all > 0.0 { so / all } else { empty }
}

fn ratio(part: usize, whole: usize) -> f32 {
    #[expect(clippy::cast_precision_loss, reason = "words of a sentence")]
    let (part, whole) = (part as f32, whole as f32);
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// The longest run of words that stands in both, as a share of the first; of the first 64 words.
fn longest_run(left: &[u64], right: &[u64]) -> f32 {
    let (left, right) = (&left[..left.len().min(64)], &right[..right.len().min(256)]);
    let mut best = 0;
    let mut row = vec![0_usize; right.len() + 1];
    for one in left {
        for at in (0..right.len()).rev() {
            row[at + 1] = if *one == right[at] { row[at] + 1 } else { 0 };
            best = best.max(row[at + 1]);
        }
    }
    ratio(best, left.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "The ferry from Ellery was cancelled on 12 March because of a storm. Mayor Ilse Brandt \
                        promised refunds of 40 euros. Nobody was hurt.";

    fn measure(answer: &str, name: &str) -> f32 {
        let claims = Documents::new(&[TEXT]).claims(answer);
        let at = NAMES.iter().position(|known| *known == name);
        claims[0].measures[at.unwrap_or(usize::MAX)]
    }

    fn close(left: f32, right: f32) {
        assert!((left - right).abs() < 1e-5, "{left} {right}");
    }

    #[test]
    fn what_stands_there_is_known_wholly() {
        for name in [
            "known anywhere",
            "known in the best sentence",
            "word pairs known",
            "longest run",
        ] {
            close(
                measure("Mayor Ilse Brandt promised refunds of 40 euros.", name),
                1.0,
            );
        }
        close(measure("Penguins adore chocolate.", "known anywhere"), 0.0);
    }

    #[test]
    fn numbers_and_names_that_stand_nowhere_are_missing() {
        let claims =
            Documents::new(&[TEXT]).claims("Mayor Otto Brandt promised 50 euros on 12 March.");
        assert_eq!(claims[0].missing, ["50", "Otto"]);
        close(measure("It was on 12 March.", "numbers missing"), 0.0);
        close(
            measure("They promised refunds of 41 euros.", "numbers missing"),
            1.0,
        );
        // The twelfth stands elsewhere than the refunds, one sentence off.
        close(
            measure(
                "They promised refunds of 12 euros.",
                "numbers missing around it",
            ),
            0.0,
        );
    }

    #[test]
    fn a_denial_is_no_statement() {
        close(
            measure(
                "The ferry from Ellery was not cancelled.",
                "negated differently",
            ),
            1.0,
        );
        close(
            measure(
                "The ferry from Ellery was cancelled.",
                "negated differently",
            ),
            0.0,
        );
        close(
            measure(
                "The ferry was cancelled in December after a storm, they won.",
                "opposites",
            ),
            0.0,
        );
        let claims = Documents::new(&["Sales increased in May."]).claims("Sales decreased in May.");
        close(claims[0].measures[12], 1.0);
    }

    #[test]
    fn the_likeliest_sentences_come_first() {
        let claims = Documents::new(&["Cats purr.", TEXT]).claims("The mayor promised refunds.");
        let (document, range) = &claims[0].candidates[0];
        assert_eq!(*document, 1);
        assert!(TEXT[range.clone()].starts_with("Mayor"));
    }

    #[test]
    fn questions_and_headings_state_nothing_but_a_short_answer_does() {
        let documents = Documents::new(&[TEXT]);
        assert_eq!(
            documents
                .claims("Here is a summary:\nMayor Brandt promised refunds.")
                .len(),
            1
        );
        assert_eq!(documents.claims("40").len(), 1);
        assert!(documents.claims(" \n").is_empty());
        assert_eq!(
            Documents::new(&[]).claims("Something is said here.").len(),
            1
        );
    }

    /// The longest common run, by trying all.
    fn slowly(left: &[u64], right: &[u64]) -> usize {
        (0..left.len())
            .flat_map(|from| (from + 1..=left.len()).map(move |to| (from, to)))
            .filter(|&(from, to)| {
                right
                    .windows(to - from)
                    .any(|window| *window == left[from..to])
            })
            .map(|(from, to)| to - from)
            .max()
            .unwrap_or(0)
    }

    proptest::proptest! {
        #[test]
        fn the_longest_run_is_the_longest(left in proptest::collection::vec(0_u64..4, 0..12),
                                          right in proptest::collection::vec(0_u64..4, 0..12)) {
            let expected = ratio(slowly(&left, &right), left.len());
            proptest::prop_assert!((longest_run(&left, &right) - expected).abs() < 1e-6);
        }

        #[test]
        fn measures_are_shares_whatever_the_texts(document in "([a-zA-Z0-9 .,'é東\n]|.){0,200}",
                                                  answer in "([a-zA-Z0-9 .,'é東\n]|.){0,200}") {
            for claim in Documents::new(&[&document]).claims(&answer) {
                proptest::prop_assert!(claim.measures.iter().all(|m| (0.0..=1.0).contains(m)));
                proptest::prop_assert!(!answer[claim.range].is_empty());
                for (_, range) in claim.candidates {
                    proptest::prop_assert!(!document[range].is_empty());
                }
            }
        }

        #[test]
        fn a_text_supports_its_own_sentences(text in "[A-Z][a-z]{3,8}( [a-z]{3,8}){3,9}\\.") {
            for claim in Documents::new(&[&text]).claims(&text) {
                if claim.measures[11] > 0.0 {
                    proptest::prop_assert!((claim.measures[0] - 1.0).abs() < 1e-5);
                    proptest::prop_assert!((claim.measures[4] - 1.0).abs() < 1e-5);
                }
            }
        }
    }
}
