//! Constructs that make code harder to follow than its size says.

use super::language::Language;

/// The names of the constructs, in the order of their bits.
pub const CONSTRUCTS: [&str; 15] = [
    "async",
    "concurrency",
    "recursion",
    "regular expressions",
    "error handling",
    "closures",
    "generators",
    "generics",
    "metaprogramming",
    "memory",
    "joins",
    "subqueries",
    "window functions",
    "aggregation",
    "comprehensions",
];

pub(super) const ASYNC: u16 = 1;
pub(super) const CONCURRENCY: u16 = 1 << 1;
pub(super) const RECURSION: u16 = 1 << 2;
pub(super) const PATTERNS: u16 = 1 << 3;
pub(super) const ERRORS: u16 = 1 << 4;
pub(super) const CLOSURES: u16 = 1 << 5;
pub(super) const GENERATORS: u16 = 1 << 6;
pub(super) const GENERICS: u16 = 1 << 7;
pub(super) const META: u16 = 1 << 8;
pub(super) const MEMORY: u16 = 1 << 9;
pub(super) const JOINS: u16 = 1 << 10;
pub(super) const SUBQUERIES: u16 = 1 << 11;
pub(super) const WINDOWS: u16 = 1 << 12;
pub(super) const AGGREGATION: u16 = 1 << 13;
pub(super) const COMPREHENSIONS: u16 = 1 << 14;

/// The constructs that a word alone tells of.
pub(super) fn of_word(word: &str, language: Language) -> u16 {
    match word {
        "async" | "await" | "suspend" | "Promise" | "asyncio" | "tokio" | "CompletableFuture"
        | "Task" | "Future" => ASYNC,
        "Thread" | "threading" | "Mutex" | "mutex" | "RwLock" | "Semaphore" | "synchronized"
        | "volatile" | "atomic" | "Atomic" | "AtomicUsize" | "AtomicInteger" | "pthread_create"
        | "ExecutorService" | "multiprocessing" | "ThreadPoolExecutor" | "Lock" | "WaitGroup"
        | "sync" | "chan" | "goroutine" | "channel" | "spawn" | "concurrent" | "lock_guard"
        | "unique_lock" | "std_thread" | "Worker" => CONCURRENCY,
        "go" | "select" if language == Language::Go => CONCURRENCY,
        "RegExp" | "Regex" | "regex" | "preg_match" | "preg_replace" | "re" | "Pattern" => PATTERNS,
        "try" | "except" | "catch" | "finally" | "throw" | "throws" | "raise" | "rescue"
        | "defer" | "Result" => ERRORS,
        "lambda" => CLOSURES,
        "yield" => GENERATORS,
        "template" | "typename" | "TypeVar" | "Generic" => GENERICS,
        "macro_rules" | "metaclass" | "__metaclass__" | "reflect" | "Proxy" | "decltype"
        | "__getattr__" | "constexpr" | "define_method" | "method_missing" => META,
        "unsafe" | "malloc" | "calloc" | "realloc" | "free" | "memcpy" | "unique_ptr"
        | "shared_ptr" | "reinterpret_cast" | "Box" | "Rc" | "Arc" | "RefCell" => MEMORY,
        _ => 0,
    }
}
