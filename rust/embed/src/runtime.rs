//! The ONNX Runtime library: found by the caller, opened here, once a process.
//!
//! The `ort` crate opens a library by itself the first time that any of its functions is called, by
//! whatever name the system's search path yields, and panics when that fails. So nothing in this crate
//! calls `ort` without a [`Runtime`], and a [`Runtime`] exists only after [`load`] has looked at the
//! library with its own eyes: that it is an ONNX Runtime, which version it states, and that it hands out
//! the interface that `ort` will ask it for.
//!
//! Since 1.29 the official builds send telemetry home unless [`TELEMETRY_SWITCH`] is set in the
//! environment before the library initialises: by then it has written a device id, opened a database and
//! started an uploading thread, whatever its interface is told later, and that thread makes a forked
//! child hang when it exits. So [`load`] goes no further while nobody has decided.

use std::env;
use std::ffi::{CStr, c_char};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::sys::OrtApiBase;

use crate::error::{EmbedError, Result};

/// The least minor version of ONNX Runtime 1.x that is loaded: the oldest that the tests are run with.
/// Older ones lack settings that sessions rely on.
pub const LEAST_MINOR_VERSION: u32 = 23;

/// The interface that `ort` asks the library for; every later runtime hands it out too.
const INTERFACE: u32 = ort::MINOR_VERSION;

/// The environment variable that ONNX Runtime reads while it initialises: `1` keeps it from collecting
/// anything. See Privacy.md in the onnxruntime package.
pub const TELEMETRY_SWITCH: &str = "ORT_DISABLE_TELEMETRY";

const WHAT: &str = "the ONNX Runtime library";

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

/// The library that `ort` holds, also when setting up its environment failed: it cannot let go of one.
static HELD: Mutex<Option<PathBuf>> = Mutex::new(None);

/// A loaded ONNX Runtime and its environment; there is at most one in a process.
#[derive(Debug)]
pub struct Runtime {
    environment: Environment,
    version: String,
    path: PathBuf,
}

impl Runtime {
    /// The version that the library states, such as `"1.32.0"`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The library's file, symbolic links resolved.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn environment(&self) -> &Environment {
        &self.environment
    }
}

/// Loads the library at `path`, or returns the runtime that is loaded from it already.
///
/// # Errors
/// [`EmbedError::Option`] for a path that is not absolute or an environment without
/// [`TELEMETRY_SWITCH`], [`EmbedError::Missing`],
/// [`EmbedError::Unreadable`] for a file that is no shared library of this machine,
/// [`EmbedError::Unusable`] for a library that is not ONNX Runtime, [`EmbedError::RuntimeVersion`] for
/// one that is too old, [`EmbedError::OtherRuntime`] when another one is loaded,
/// [`EmbedError::Inference`] when the runtime cannot set itself up.
pub fn load(path: &Path) -> Result<&'static Runtime> {
    if !path.is_absolute() {
        return Err(EmbedError::Option(format!(
            "{WHAT} is named by the relative path {}: give an absolute path, so that no search path \
             can decide which library is loaded",
            path.display()
        )));
    }
    let real = fs::canonicalize(path).map_err(|error| unreadable(path, &error))?;
    if let Some(runtime) = RUNTIME.get() {
        return same(runtime, real);
    }
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = RUNTIME.get() {
        return same(runtime, real);
    }
    if let Some(loaded) = held.as_ref().filter(|loaded| **loaded != real) {
        return Err(EmbedError::OtherRuntime {
            loaded: loaded.clone(),
            asked: real,
        });
    }
    // Opened by the path as it was given: Windows finds a library's neighbours by it.
    let version = examine(path)?;
    if env::var_os(TELEMETRY_SWITCH).is_none() {
        return Err(EmbedError::Option(format!(
            "{TELEMETRY_SWITCH} is not set: set it to 1 before ONNX Runtime is loaded, or it sends telemetry home"
        )));
    }
    let environment = ort::init_from(path).map_err(|error| EmbedError::Unusable {
        what: WHAT,
        path: path.to_path_buf(),
        reason: error.to_string(),
    })?;
    *held = Some(real.clone());
    let environment = environment
        .with_name("cascadeflow")
        .with_telemetry(false)
        .build()
        .map_err(|error| EmbedError::Inference {
            during: "while it was set up",
            reason: error.to_string(),
        })?;
    Ok(RUNTIME.get_or_init(|| Runtime {
        environment,
        version,
        path: real,
    }))
}

/// The runtime of this process.
///
/// # Errors
/// [`EmbedError::NotLoaded`] before [`load`] has succeeded.
pub fn current() -> Result<&'static Runtime> {
    RUNTIME.get().ok_or(EmbedError::NotLoaded)
}

fn same(runtime: &'static Runtime, asked: PathBuf) -> Result<&'static Runtime> {
    if runtime.path == asked {
        return Ok(runtime);
    }
    Err(EmbedError::OtherRuntime {
        loaded: runtime.path.clone(),
        asked,
    })
}

/// Opens the library and asks it what it is, without `ort`: the version that it states.
fn examine(path: &Path) -> Result<String> {
    let unusable = |reason: String| EmbedError::Unusable {
        what: WHAT,
        path: path.to_path_buf(),
        reason,
    };
    // SAFETY: opening a library runs its initialisers. The caller names the file by an absolute path in
    // order to have it run in this process; there is no weaker way to use a runtime at all.
    let library =
        unsafe { libloading::Library::new(path) }.map_err(|error| EmbedError::Unreadable {
            what: WHAT,
            path: path.to_path_buf(),
            reason: error.to_string(),
        })?;
    // SAFETY: the type is that of `OrtGetApiBase` in onnxruntime_c_api.h, unchanged since 1.0. A library
    // that exports another function by this very name cannot be told from the real one by anybody.
    let entry =
        unsafe { library.get::<unsafe extern "C" fn() -> *const OrtApiBase>(b"OrtGetApiBase") }
            .map_err(|_| {
                unusable("it does not export OrtGetApiBase: it is not ONNX Runtime".to_owned())
            })?;
    // SAFETY: the function takes nothing and returns null or a pointer to a table that lives as long as
    // the library, which `library` keeps open to the end of this function.
    let base = unsafe { entry().as_ref() }
        .ok_or_else(|| unusable("OrtGetApiBase returned nothing".to_owned()))?;
    // SAFETY: the table's functions are filled in by the library; this one returns null or a string that
    // it owns.
    let version: *const c_char = unsafe { (base.GetVersionString)() };
    if version.is_null() {
        return Err(unusable("it states no version".to_owned()));
    }
    // SAFETY: not null, and a string that ends in a zero byte by the function's contract.
    let version = unsafe { CStr::from_ptr(version) }
        .to_string_lossy()
        .into_owned();
    let mut parts = version.split('.').map(str::parse::<u32>);
    if !matches!(
        (parts.next(), parts.next()),
        (Some(Ok(1)), Some(Ok(minor))) if minor >= LEAST_MINOR_VERSION
    ) {
        return Err(EmbedError::RuntimeVersion {
            path: path.to_path_buf(),
            version,
            needed: LEAST_MINOR_VERSION,
        });
    }
    // SAFETY: as above; the function returns null for an interface that it does not have.
    if unsafe { (base.GetApi)(INTERFACE) }.is_null() {
        return Err(unusable(format!(
            "it states version {version} and does not have interface {INTERFACE}"
        )));
    }
    Ok(version)
}

fn unreadable(path: &Path, error: &std::io::Error) -> EmbedError {
    let path = path.to_path_buf();
    if error.kind() == std::io::ErrorKind::NotFound {
        return EmbedError::Missing { what: WHAT, path };
    }
    EmbedError::Unreadable {
        what: WHAT,
        path,
        reason: error.to_string(),
    }
}
