//! A graph that reads token ids: batches of texts in, rows of numbers out.

use std::num::NonZeroUsize;
use std::path::Path;

use ort::value::TensorElementType;

use crate::error::{EmbedError, Result};
use crate::session::{Input, ModelFiles, Port, SessionPool};
use crate::tokenizer::{Encoded, TextTokenizer};

const IDS: &str = "input_ids";
const MASK: &str = "attention_mask";
const TYPES: &str = "token_type_ids";

/// One text, or two that a model reads together (question and answer, premise and hypothesis).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text<'a> {
    /// A single text.
    One(&'a str),
    /// Two texts, told apart by the tokenizer's separators and the model's token types.
    Pair(&'a str, &'a str),
}

/// How a model is held and fed.
#[derive(Debug, Clone)]
pub struct TextModelOptions {
    /// The most tokens read of a text, special tokens included; the rest is cut off. A graph whose
    /// inputs have a fixed length reads no more than that.
    pub max_tokens: usize,
    /// Sessions, each holding the weights: so many batches run at once.
    pub sessions: NonZeroUsize,
    /// Threads that a session computes with, the caller's included.
    pub threads: NonZeroUsize,
    /// The most tokens in a batch, padding included, but at least one text. It bounds the memory that a
    /// run takes. A model quantised *dynamically* scales its activations by the largest in the batch, so
    /// its numbers move with a text's neighbours; 1 gives every text a run of its own.
    pub max_batch_tokens: usize,
    /// The graph's output to read, when it is not to be told by its name and shape.
    pub output: Option<String>,
}

impl Default for TextModelOptions {
    fn default() -> Self {
        Self {
            max_tokens: 256,
            sessions: NonZeroUsize::MIN,
            threads: NonZeroUsize::MIN,
            max_batch_tokens: 2048,
            output: None,
        }
    }
}

/// A row of a graph's output, belonging to the text at `index`.
#[derive(Debug)]
pub(crate) struct Row<'run> {
    pub(crate) index: usize,
    /// The row's numbers; when there is a vector for each token, those of the text's own tokens, one
    /// after another, without the padding's.
    pub(crate) values: &'run [f32],
}

/// What a text model's output is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A vector a text.
    PerText,
    /// A vector a token.
    PerToken,
}

/// A model with its tokenizer.
#[derive(Debug)]
pub(crate) struct TextModel {
    sessions: SessionPool,
    tokenizer: TextTokenizer,
    takes: Takes,
    shape: Shape,
    width: usize,
    max_batch_tokens: usize,
}

/// What a graph is fed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Takes {
    mask: bool,
    types: bool,
    /// Whether a run is of one text.
    one_row: bool,
    /// The tokens of every text, padding included, where they are no other number.
    columns: Option<usize>,
}

impl TextModel {
    /// Opens both files and runs the model once at its longest, so that a graph that does not take what
    /// it will be fed is refused here and not in a request.
    ///
    /// `prefer` lists output names and the shapes that are expected under them, best first.
    pub(crate) fn open(
        files: ModelFiles,
        tokenizer: &Path,
        options: &TextModelOptions,
        prefer: &[(&str, Shape)],
        fall_back: &[Shape],
    ) -> Result<Self> {
        if options.max_batch_tokens == 0 {
            return Err(EmbedError::Option(
                "max_batch_tokens must be at least 1".to_owned(),
            ));
        }
        // What is wrong with it is said before a large model is read.
        let mut reader = TextTokenizer::open(tokenizer, options.max_tokens)?;
        let path = files.model.clone();
        let refuse = |reason: String| EmbedError::Unusable {
            what: "the model",
            path: path.clone(),
            reason,
        };
        let (sessions, (takes, shape)) = SessionPool::open(
            files,
            options.sessions,
            options.threads,
            |inputs, outputs| {
                let takes = read_inputs(inputs).map_err(refuse)?;
                let wanted = options.output.as_deref();
                let (name, shape) =
                    choose_output(outputs, wanted, prefer, fall_back).map_err(refuse)?;
                Ok((name, (takes, shape)))
            },
        )?;
        if let Some(columns) = takes.columns.filter(|fixed| *fixed < options.max_tokens) {
            reader = TextTokenizer::open(tokenizer, columns)?;
        }
        let mut model = Self {
            sessions,
            tokenizer: reader,
            takes,
            shape,
            width: 0,
            max_batch_tokens: options.max_batch_tokens,
        };
        model.width = model.measure()?;
        Ok(model)
    }

    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// Numbers in a vector.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    pub(crate) fn max_tokens(&self) -> usize {
        self.tokenizer.max_tokens()
    }

    pub(crate) fn path(&self) -> &Path {
        self.sessions.model()
    }

    /// Runs the model on every text, the longest first and those of like length together, and hands on
    /// the rows as they come.
    pub(crate) fn run(
        &self,
        texts: &[Text<'_>],
        mut consume: impl FnMut(Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut encoded = Vec::with_capacity(texts.len());
        for (index, text) in texts.iter().enumerate() {
            let tokens = self.tokenizer.encode(*text)?;
            if tokens.ids.is_empty() {
                return Err(EmbedError::Invalid(format!(
                    "text {index} has no tokens: an empty text means nothing to this model"
                )));
            }
            encoded.push((index, tokens));
        }
        encoded.sort_by_key(|(_, tokens)| std::cmp::Reverse(tokens.ids.len()));
        let mut rest = encoded.as_slice();
        while let Some((_, longest)) = rest.first() {
            let columns = self.takes.columns.unwrap_or(longest.ids.len());
            let rows = if self.takes.one_row {
                1
            } else {
                (self.max_batch_tokens / columns).max(1)
            };
            let (batch, later) = rest.split_at(rows.min(rest.len()));
            self.run_batch(batch, columns, &mut consume)?;
            rest = later;
        }
        Ok(())
    }

    fn run_batch(
        &self,
        batch: &[(usize, Encoded)],
        columns: usize,
        consume: &mut impl FnMut(Row<'_>) -> Result<()>,
    ) -> Result<()> {
        let size = batch.len() * columns;
        let mut ids = vec![i64::from(self.tokenizer.pad()); size];
        let mut mask = vec![0_i64; size];
        let mut types = vec![0_i64; size];
        for (row, (_, tokens)) in batch.iter().enumerate() {
            let start = row * columns;
            for (column, id) in tokens.ids.iter().enumerate() {
                ids[start + column] = i64::from(*id);
                mask[start + column] = 1;
            }
            for (column, kind) in tokens.types.iter().enumerate() {
                types[start + column] = i64::from(*kind);
            }
        }
        let inputs = self.inputs(&ids, &mask, &types);
        self.sessions
            .run(batch.len(), columns, &inputs, |shape, numbers| {
                self.check(shape, batch.len(), columns, self.width)?;
                for ((index, tokens), row) in batch.iter().zip(self.rows(numbers, columns)) {
                    let used = match self.shape {
                        Shape::PerText => row.len(),
                        Shape::PerToken => tokens.ids.len() * self.width,
                    };
                    let values = &row[..used];
                    if let Some(bad) = values.iter().find(|value| !value.is_finite()) {
                        return Err(EmbedError::Inference {
                            during: "while the model ran",
                            reason: format!("it gave {bad} for text {index}"),
                        });
                    }
                    consume(Row {
                        index: *index,
                        values,
                    })?;
                }
                Ok(())
            })
    }

    fn rows<'run>(&self, numbers: &'run [f32], columns: usize) -> std::slice::Chunks<'run, f32> {
        numbers.chunks(match self.shape {
            Shape::PerText => self.width,
            Shape::PerToken => columns * self.width,
        })
    }

    fn inputs<'run>(
        &self,
        ids: &'run [i64],
        mask: &'run [i64],
        types: &'run [i64],
    ) -> Vec<Input<'run>> {
        let mut inputs = vec![Input {
            name: IDS,
            values: ids,
        }];
        if self.takes.mask {
            inputs.push(Input {
                name: MASK,
                values: mask,
            });
        }
        if self.takes.types {
            inputs.push(Input {
                name: TYPES,
                values: types,
            });
        }
        inputs
    }

    /// Runs one text that is as long as any: the width of what comes back.
    fn measure(&self) -> Result<usize> {
        let columns = self.takes.columns.unwrap_or(self.max_tokens());
        let token = self.tokenizer.encode(Text::One("a"))?;
        let id = token.ids.first().copied().unwrap_or(self.tokenizer.pad());
        let (ids, mask, types) = (
            vec![i64::from(id); columns],
            vec![1; columns],
            vec![0; columns],
        );
        let inputs = self.inputs(&ids, &mask, &types);
        let width = self.sessions.run(1, columns, &inputs, |shape, _| {
            let width = shape.last().and_then(|size| usize::try_from(*size).ok());
            let width = width.unwrap_or(0);
            self.check(shape, 1, columns, width)?;
            Ok(width)
        });
        let width = width.map_err(|error| {
            self.refuse(&format!(
                "it does not run on {columns} tokens (max_tokens; a classifier's config.json may say \
                 fewer as max_position_embeddings): {error}"
            ))
        })?;
        if width == 0 {
            return Err(self.refuse("its output has no numbers in a row"));
        }
        Ok(width)
    }

    fn check(&self, shape: &[i64], rows: usize, columns: usize, width: usize) -> Result<()> {
        let expected = match self.shape {
            Shape::PerText => vec![rows, width],
            Shape::PerToken => vec![rows, columns, width],
        };
        let fits = shape.len() == expected.len()
            && shape
                .iter()
                .zip(&expected)
                .all(|(have, want)| usize::try_from(*have) == Ok(*want));
        if fits {
            return Ok(());
        }
        Err(self.refuse(&format!(
            "its output has the shape {shape:?} where {expected:?} was expected"
        )))
    }

    fn refuse(&self, reason: &str) -> EmbedError {
        EmbedError::Unusable {
            what: "the model",
            path: self.path().to_path_buf(),
            reason: reason.to_owned(),
        }
    }
}

/// What the graph takes; an error where it takes something else.
fn read_inputs(inputs: &[Port]) -> std::result::Result<Takes, String> {
    let takes = |name: &str| inputs.iter().any(|input| input.name == name);
    let listing = || list(inputs);
    if !takes(IDS) {
        return Err(format!(
            "it has no input {IDS}; its inputs are {}",
            listing()
        ));
    }
    let (mut one_row, mut columns) = (false, None);
    for input in inputs {
        if ![IDS, MASK, TYPES].contains(&input.name.as_str()) {
            return Err(format!(
                "it wants the input {}; only {IDS}, {MASK} and {TYPES} can be fed",
                input.describe()
            ));
        }
        let axes = match input.shape.as_deref() {
            Some([rows @ (None | Some(1)), length]) => Some((rows.is_some(), *length)),
            _ => None,
        };
        let whole = input.element == Some(TensorElementType::Int64);
        let Some((one, length)) = axes.filter(|_| whole) else {
            return Err(format!(
                "its input is {}; it must be int64, of a free batch or one text, and of a length: \
                 export it with dynamic axes",
                input.describe()
            ));
        };
        if columns.is_some() && length.is_some() && columns != length {
            return Err(format!("its inputs are of two lengths: {}", listing()));
        }
        one_row |= one;
        columns = columns.or(length);
    }
    if columns.is_some() && !takes(MASK) {
        return Err(format!(
            "its inputs are of a fixed length and none of them is {MASK}, which tells a text from what \
             fills it up: export it with dynamic axes; its inputs are {}",
            listing()
        ));
    }
    Ok(Takes {
        mask: takes(MASK),
        types: takes(TYPES),
        one_row,
        columns,
    })
}

/// The output to read: the one that was asked for; else the first of the preferred names; else the only
/// one of a shape that will do.
fn choose_output(
    outputs: &[Port],
    wanted: Option<&str>,
    prefer: &[(&str, Shape)],
    fall_back: &[Shape],
) -> std::result::Result<(String, Shape), String> {
    let shape_of = |output: &Port| match output.float_rank() {
        Some(2) => Some(Shape::PerText),
        Some(3) => Some(Shape::PerToken),
        _ => None,
    };
    let will_do = |output: &Port| shape_of(output).filter(|shape| fall_back.contains(shape));
    if let Some(wanted) = wanted {
        let output = outputs.iter().find(|output| output.name == wanted);
        let output =
            output.ok_or_else(|| format!("it has no output {wanted}; it has {}", list(outputs)))?;
        let shape = will_do(output)
            .ok_or_else(|| format!("its output {} cannot be read", output.describe()))?;
        return Ok((output.name.clone(), shape));
    }
    for (name, shape) in prefer {
        let found = outputs
            .iter()
            .find(|output| output.name == *name && shape_of(output) == Some(*shape));
        if let Some(output) = found {
            return Ok((output.name.clone(), *shape));
        }
    }
    for shape in fall_back {
        // A BERT's pooler has the shape of a sentence's vector and is none.
        let fitting: Vec<_> = outputs
            .iter()
            .filter(|output| shape_of(output) == Some(*shape) && output.name != "pooler_output")
            .collect();
        if let [only] = fitting.as_slice() {
            return Ok((only.name.clone(), *shape));
        }
    }
    Err(format!(
        "which of its outputs to read cannot be told: name one of {}",
        list(outputs)
    ))
}

fn list(ports: &[Port]) -> String {
    let all: Vec<_> = ports.iter().map(Port::describe).collect();
    all.join("; ")
}
