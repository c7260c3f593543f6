//! What is not a usable ONNX Runtime is refused with a reason, and leaves the process as it was.
//!
//! Loading a real one is tested from Python, where a wheel of it is at hand. The libraries here are small
//! ones that the test compiles, exporting what their case needs.

#![expect(clippy::expect_used, reason = "helpers of tests fail as tests do")]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cascadeflow_embed::EmbedError;
use cascadeflow_embed::runtime::{LEAST_MINOR_VERSION, TELEMETRY_SWITCH, current, load};

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = env::temp_dir().join(format!("cascadeflow-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a temporary folder");
        Self(path)
    }

    /// Compiles a library from Rust source.
    fn library(&self, name: &str, source: &str) -> PathBuf {
        let (input, output) = (self.0.join(format!("{name}.rs")), self.0.join(name));
        fs::write(&input, source).expect("a source file");
        let compiler = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let done = Command::new(compiler)
            .args(["--crate-type", "cdylib", "--edition", "2024", "-o"])
            .args([&output, &input])
            .output()
            .expect("rustc runs");
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        output
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A folder left behind in the temporary one harms nobody.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// A library whose `OrtGetApiBase` states `version` and hands out `interface`.
fn fake_runtime(version: &str, interface: &str) -> String {
    format!(
        r#"
        use std::ffi::{{c_char, c_void}};
        #[repr(C)]
        pub struct Base {{
            get_api: extern "system" fn(u32) -> *const c_void,
            get_version: extern "system" fn() -> *const c_char,
        }}
        extern "system" fn get_api(_: u32) -> *const c_void {{ {interface} }}
        extern "system" fn get_version() -> *const c_char {{ c"{version}".as_ptr() }}
        static BASE: Base = Base {{ get_api, get_version }};
        #[unsafe(no_mangle)]
        pub extern "C" fn OrtGetApiBase() -> *const Base {{ &BASE }}
        "#
    )
}

const NO_INTERFACE: &str = "std::ptr::null()";
const SOME_INTERFACE: &str = "std::ptr::dangling()";

fn refused(path: &Path) -> EmbedError {
    let error = load(path).expect_err("it is no usable runtime");
    assert!(matches!(current(), Err(EmbedError::NotLoaded)));
    error
}

#[test]
fn a_relative_path_is_refused_before_anything_is_opened() {
    let error = refused(Path::new("libonnxruntime.so"));
    assert!(matches!(error, EmbedError::Option(message) if message.contains("absolute")));
}

#[test]
fn a_missing_file_is_named() {
    let path = env::temp_dir().join("no-such-folder/libonnxruntime.so");
    let error = refused(&path);
    assert!(error.to_string().contains("no-such-folder"));
    assert!(matches!(error, EmbedError::Missing { .. }));
}

#[test]
fn a_file_that_is_no_library_is_refused() {
    let folder = Folder::new("text");
    let path = folder.0.join("libonnxruntime.so");
    fs::write(&path, "not a library").expect("a file");
    assert!(matches!(refused(&path), EmbedError::Unreadable { .. }));
}

#[test]
fn a_library_that_is_something_else_is_refused() {
    let folder = Folder::new("else");
    let path = folder.library(
        "something_else",
        "#[unsafe(no_mangle)] pub extern \"C\" fn f() {}",
    );
    let error = refused(&path);
    assert!(matches!(&error, EmbedError::Unusable { .. }));
    assert!(error.to_string().contains("not ONNX Runtime"));
}

#[test]
fn a_library_whose_entry_gives_nothing_is_refused() {
    let folder = Folder::new("null");
    let path = folder.library(
        "null",
        "#[unsafe(no_mangle)] pub extern \"C\" fn OrtGetApiBase() -> *const u8 { std::ptr::null() }",
    );
    assert!(matches!(refused(&path), EmbedError::Unusable { .. }));
}

#[test]
fn a_runtime_that_is_too_old_is_told_its_version_and_what_is_needed() {
    let folder = Folder::new("old");
    for version in ["1.16.3", "1.22.9", "0.5.0", "2.40.0", "nightly", ""] {
        let path = folder.library("old_runtime", &fake_runtime(version, NO_INTERFACE));
        let error = refused(&path);
        assert!(matches!(
            &error,
            EmbedError::RuntimeVersion { version: stated, needed, .. }
                if stated == version && *needed == LEAST_MINOR_VERSION
        ));
        assert!(error.to_string().contains("pip install"));
    }
}

#[test]
fn a_runtime_that_states_a_version_without_its_interface_is_refused() {
    let folder = Folder::new("hollow");
    let path = folder.library("hollow", &fake_runtime("1.99.0", NO_INTERFACE));
    let error = refused(&path);
    assert!(matches!(&error, EmbedError::Unusable { .. }));
    assert!(error.to_string().contains("interface"));
}

#[test]
fn no_runtime_is_set_up_before_telemetry_was_decided_on() {
    if env::var_os(TELEMETRY_SWITCH).is_some() {
        // This process has decided already: ask one that has not.
        let name = "no_runtime_is_set_up_before_telemetry_was_decided_on";
        let done = Command::new(env::current_exe().expect("this program"))
            .args(["--exact", name])
            .env_remove(TELEMETRY_SWITCH)
            .status();
        assert!(done.expect("it runs").success());
        return;
    }
    let folder = Folder::new("telemetry");
    let path = folder.library("willing", &fake_runtime("1.99.0", SOME_INTERFACE));
    let error = refused(&path);
    assert!(matches!(error, EmbedError::Option(message) if message.contains(TELEMETRY_SWITCH)));
}
