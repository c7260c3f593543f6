//! A pool of ONNX Runtime sessions over one model.
//!
//! `Session::run` wants a session for itself, so as many texts are worked on at once as there are sessions;
//! who comes while all are busy waits in line. Each session holds the model's weights: `n` sessions
//! take `n` times the memory. All are made when the model is opened, so what a model costs and whether it
//! works is known before the first request.
//!
//! A forked child makes its own sessions, the first time it needs one, from the same files: the parent's
//! have worker threads that the child does not. When a file has changed since the parent opened it, the
//! child refuses it, so that one service never answers with two models.

use std::borrow::Cow;
use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{HasSelectedOutputs, OutputSelector, RunOptions, Session, SessionInputValue};
use ort::value::{Outlet, TensorElementType, TensorRef};

use crate::error::{EmbedError, Result};
use crate::pool::{FairPool, PerProcess};
use crate::runtime;

/// Where a graph that is given as bytes finds its weights (ONNX Runtime's
/// `onnxruntime_session_options_config_keys.h`).
const WEIGHTS_FOLDER: &str = "session.model_external_initializers_file_folder_path";

const MODEL: &str = "the model";
const WEIGHTS: &str = "the weights";

/// An ONNX graph, and the files that its weights lie in when they are not inside it.
#[derive(Debug, Clone)]
pub struct ModelFiles {
    /// The `.onnx` file.
    pub model: PathBuf,
    /// Files of weights by the name that the graph calls them by (`location` in its external data).
    /// Empty means that they lie beside the graph, where the runtime refuses symbolic links.
    ///
    /// Files that lie in one folder under those very names are mapped into memory. Others are read into
    /// it: all-MiniLM-L6-v2 (90 MB) then takes 100 MB more and twice the time to open.
    pub external_data: Vec<(String, PathBuf)>,
}

impl ModelFiles {
    /// A graph with its weights inside it, or beside it.
    #[must_use]
    pub fn new(model: impl Into<PathBuf>) -> Self {
        Self {
            model: model.into(),
            external_data: Vec::new(),
        }
    }

    fn all(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        let weights = self.external_data.iter();
        std::iter::once((MODEL, self.model.as_path()))
            .chain(weights.map(|(_, path)| (WEIGHTS, path.as_path())))
    }

    /// What tells that a file is still the one that was opened: length and time of change.
    fn state(&self) -> Result<Vec<(u64, Option<SystemTime>)>> {
        self.all()
            .map(|(what, path)| {
                let facts = fs::metadata(path).map_err(|error| read_error(what, path, &error))?;
                if facts.is_dir() {
                    return Err(EmbedError::Unusable {
                        what,
                        path: path.to_path_buf(),
                        reason: "it is a folder".to_owned(),
                    });
                }
                Ok((facts.len(), facts.modified().ok()))
            })
            .collect()
    }
}

/// An input or output of a graph, as the graph declares it.
#[derive(Debug, Clone)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) element: Option<TensorElementType>,
    /// Its dimensions, `None` for one that is free; `None` for what is no tensor.
    pub(crate) shape: Option<Vec<Option<usize>>>,
}

impl Port {
    fn new(outlet: &Outlet) -> Self {
        let dimensions = outlet.dtype().tensor_shape();
        Self {
            name: outlet.name().to_owned(),
            element: outlet.dtype().tensor_type(),
            shape: dimensions.map(|shape| {
                shape
                    .iter()
                    .map(|size| usize::try_from(*size).ok())
                    .collect()
            }),
        }
    }

    /// The number of dimensions of a tensor of `f32`, `None` for anything else.
    pub(crate) fn float_rank(&self) -> Option<usize> {
        let is_float = self.element == Some(TensorElementType::Float32);
        self.shape.as_ref().filter(|_| is_float).map(Vec::len)
    }

    /// `name: type[dimensions]`, for messages.
    pub(crate) fn describe(&self) -> String {
        let Some((element, shape)) = self.element.zip(self.shape.as_ref()) else {
            return format!("{}: not a tensor", self.name);
        };
        let sizes: Vec<_> = shape
            .iter()
            .map(|size| size.map_or_else(|| "?".to_owned(), |size| size.to_string()))
            .collect();
        format!("{}: {element}[{}]", self.name, sizes.join(", "))
    }
}

/// Integers of one shape, `rows` by `columns`, for one input.
pub(crate) struct Input<'batch> {
    pub(crate) name: &'static str,
    pub(crate) values: &'batch [i64],
}

/// Sessions over one model, each lent to one caller at a time.
#[derive(Debug)]
pub(crate) struct SessionPool {
    files: ModelFiles,
    state: Vec<(u64, Option<SystemTime>)>,
    sessions: NonZeroUsize,
    threads: NonZeroUsize,
    output: String,
    pool: PerProcess<FairPool<OneSession>>,
}

struct OneSession {
    session: Session,
    options: RunOptions<HasSelectedOutputs>,
}

impl fmt::Debug for OneSession {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.session.fmt(formatter)
    }
}

impl SessionPool {
    /// Opens the model `sessions` times, with `threads` threads each (one of them the caller's), and has
    /// `choose` look at its inputs and outputs: it names the output that runs will compute, and what it
    /// learned comes back beside the pool.
    pub(crate) fn open<Learned>(
        files: ModelFiles,
        sessions: NonZeroUsize,
        threads: NonZeroUsize,
        choose: impl FnOnce(&[Port], &[Port]) -> Result<(String, Learned)>,
    ) -> Result<(Self, Learned)> {
        let state = files.state()?;
        let first = open_session(&files, threads)?;
        let inputs: Vec<_> = first.inputs().iter().map(Port::new).collect();
        let outputs: Vec<_> = first.outputs().iter().map(Port::new).collect();
        let (output, learned) = choose(&inputs, &outputs)?;
        let mut lanes = vec![OneSession::new(first, &output)?];
        for _ in 1..sessions.get() {
            lanes.push(OneSession::new(open_session(&files, threads)?, &output)?);
        }
        let pool = Self {
            files,
            state,
            sessions,
            threads,
            output,
            pool: PerProcess::new(FairPool::new(lanes)),
        };
        Ok((pool, learned))
    }

    /// The `.onnx` file.
    pub(crate) fn model(&self) -> &Path {
        &self.files.model
    }

    /// Runs the graph on inputs of `rows` by `columns` and hands the output's shape and numbers on.
    pub(crate) fn run<R>(
        &self,
        rows: usize,
        columns: usize,
        inputs: &[Input<'_>],
        consume: impl FnOnce(&[i64], &[f32]) -> Result<R>,
    ) -> Result<R> {
        let pool = self.pool.get(|| self.open_again())?;
        let mut values: Vec<(Cow<'_, str>, SessionInputValue<'_>)> = Vec::new();
        for input in inputs {
            let tensor = TensorRef::from_array_view(([rows, columns], input.values));
            values.push((
                Cow::Borrowed(input.name),
                tensor.map_err(failed_to_run)?.into(),
            ));
        }
        pool.with(|lane| {
            let outputs = lane.session.run_with_options(values, &lane.options);
            let outputs = outputs.map_err(failed_to_run)?;
            let output = outputs
                .get(&self.output)
                .ok_or_else(|| EmbedError::Inference {
                    during: "while the model ran",
                    reason: format!("it gave no output {}", self.output),
                })?;
            let (shape, numbers) = output.try_extract_tensor::<f32>().map_err(failed_to_run)?;
            consume(shape, numbers)
        })
    }

    /// The sessions of a forked child.
    fn open_again(&self) -> Result<FairPool<OneSession>> {
        if self.files.state()? != self.state {
            return Err(EmbedError::Unusable {
                what: MODEL,
                path: self.files.model.clone(),
                reason: "it has changed since the parent process opened it: restart the service"
                    .to_owned(),
            });
        }
        let lanes: Result<_> = (0..self.sessions.get())
            .map(|_| OneSession::new(open_session(&self.files, self.threads)?, &self.output))
            .collect();
        Ok(FairPool::new(lanes?))
    }
}

impl OneSession {
    fn new(session: Session, output: &str) -> Result<Self> {
        let only = OutputSelector::no_default().with(output);
        let options = RunOptions::new().map_err(failed_to_run)?.with_outputs(only);
        Ok(Self { session, options })
    }
}

fn open_session(files: &ModelFiles, threads: NonZeroUsize) -> Result<Session> {
    let unusable = |reason: String| EmbedError::Unusable {
        what: MODEL,
        path: files.model.clone(),
        reason,
    };
    let mut builder = configured(threads)?;
    let session = if files.external_data.is_empty() {
        builder.commit_from_file(&files.model)
    } else if let Some(folder) = one_folder(&files.external_data) {
        let graph =
            fs::read(&files.model).map_err(|error| read_error(MODEL, &files.model, &error))?;
        builder
            .with_config_entry(WEIGHTS_FOLDER, folder)
            .map_err(|error| unusable(error.to_string()))?
            .commit_from_memory(&graph)
    } else {
        for (name, path) in &files.external_data {
            let weights = read_shared(path)?;
            builder = builder
                .with_external_initializer_file_in_memory(name, weights)
                .map_err(|error| unusable(error.to_string()))?;
        }
        builder.commit_from_file(&files.model)
    };
    session.map_err(|error| unusable(error.to_string()))
}

/// The folder in which all weights lie under the names that the graph calls them by, if there is one.
fn one_folder(external_data: &[(String, PathBuf)]) -> Option<String> {
    let mut common = None;
    for (name, path) in external_data {
        // The runtime follows no symbolic link out of the folder.
        let real = fs::canonicalize(path).ok()?;
        let folder = real.parent()?.to_str()?.to_owned();
        if real.file_name()?.to_str()? != name || common.get_or_insert(folder.clone()) != &folder {
            return None;
        }
    }
    common
}

fn configured(threads: NonZeroUsize) -> Result<SessionBuilder> {
    let setting = |error: ort::Error| EmbedError::Inference {
        during: "while a session was set up",
        reason: error.to_string(),
    };
    let recovered = |error: ort::Error<SessionBuilder>| setting(error.into());
    Session::builder(runtime::current()?.environment())
        .map_err(setting)?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(recovered)?
        .with_intra_threads(threads.get())
        .map_err(recovered)?
        // A worker that waits would spin on a core for a millisecond after every operation. That core
        // is the event loop's or another session's: on two busy cores it doubles the work of a run.
        .with_config_entry("session.intra_op.allow_spinning", "0")
        .map_err(recovered)?
        // A plan of the memory is kept for every shape that comes by; texts come in hundreds of them.
        .with_memory_pattern(false)
        .map_err(recovered)
}

/// A file's bytes, read straight into the allocation that is shared: weights are large.
fn read_shared(path: &Path) -> Result<Arc<[u8]>> {
    let failed = |error: std::io::Error| read_error(WEIGHTS, path, &error);
    let mut file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let length = usize::try_from(length).map_err(|_| EmbedError::Unusable {
        what: WEIGHTS,
        path: path.to_path_buf(),
        reason: format!("{length} bytes do not fit this machine's memory"),
    })?;
    let mut bytes: Arc<[u8]> = std::iter::repeat_n(0, length).collect();
    if let Some(alone) = Arc::get_mut(&mut bytes) {
        file.read_exact(alone).map_err(failed)?;
    }
    Ok(bytes)
}

pub(crate) fn read_error(what: &'static str, path: &Path, error: &std::io::Error) -> EmbedError {
    let path = path.to_path_buf();
    if error.kind() == std::io::ErrorKind::NotFound {
        return EmbedError::Missing { what, path };
    }
    EmbedError::Unreadable {
        what,
        path,
        reason: error.to_string(),
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what map_err hands over")]
fn failed_to_run(error: ort::Error) -> EmbedError {
    EmbedError::Inference {
        during: "while the model ran",
        reason: error.to_string(),
    }
}
