//! What threads share, in one place, so that loom can take over all of it.

#[cfg(not(loom))]
pub(super) use self::real::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Cell, Ordering};

#[cfg(loom)]
pub(super) use self::modelled::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Cell, Ordering};

#[cfg(not(loom))]
mod real {
    pub(in crate::limits) use std::sync::atomic::{
        AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering,
    };

    use std::sync::Arc;

    use arc_swap::ArcSwap;

    /// A shared value that is replaced and never changed.
    pub(in crate::limits) struct Cell<T>(ArcSwap<T>);

    impl<T> Cell<T> {
        pub(in crate::limits) fn new(value: T) -> Self {
            Self(ArcSwap::from_pointee(value))
        }

        pub(in crate::limits) fn load(&self) -> Arc<T> {
            self.0.load_full()
        }

        /// Puts a value in the place of another one, if that is still there; says whether it was.
        pub(in crate::limits) fn replace(&self, old: &Arc<T>, new: Arc<T>) -> bool {
            Arc::ptr_eq(&*self.0.compare_and_swap(old, new), old)
        }
    }
}

#[cfg(loom)]
mod modelled {
    use std::mem;
    use std::sync::{Arc, PoisonError};

    pub(in crate::limits) use loom::sync::atomic::{
        AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering,
    };

    /// The crate that does this without a lock is not known to loom.
    pub(in crate::limits) struct Cell<T>(loom::sync::Mutex<Arc<T>>);

    impl<T> Cell<T> {
        pub(in crate::limits) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(Arc::new(value)))
        }

        pub(in crate::limits) fn load(&self) -> Arc<T> {
            Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
        }

        pub(in crate::limits) fn replace(&self, old: &Arc<T>, new: Arc<T>) -> bool {
            let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let same = Arc::ptr_eq(&now, old);
            let unused = if same {
                mem::replace(&mut *now, new)
            } else {
                new
            };
            drop(now);
            drop(unused);
            same
        }
    }
}
