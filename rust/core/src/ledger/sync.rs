//! The atomics, in one place, so that loom can take over all of them.

#[cfg(not(loom))]
pub(super) use self::real::{
    AtomicI64, AtomicU32, AtomicU64, AtomicU128, Ordering, Slot, relax, shard,
};

#[cfg(loom)]
pub(super) use self::modelled::{
    AtomicI64, AtomicU32, AtomicU64, AtomicU128, Ordering, Slot, relax, shard,
};

#[cfg(not(loom))]
mod real {
    pub(in crate::ledger) use std::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

    /// Lock-free wherever the processor has `cmpxchg16b`, `casp` or `ldxp`/`stxp`: every `x86_64`
    /// since 2006 and every `aarch64`.
    pub(in crate::ledger) use portable_atomic::AtomicU128;

    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use arc_swap::ArcSwapOption;

    /// A place for a shared value.
    pub(in crate::ledger) struct Slot<T>(ArcSwapOption<T>);

    impl<T> Slot<T> {
        pub(in crate::ledger) fn get(&self) -> Option<Arc<T>> {
            self.0.load_full()
        }

        pub(in crate::ledger) fn put(&self, value: Option<Arc<T>>) {
            self.0.store(value);
        }
    }

    impl<T> Default for Slot<T> {
        fn default() -> Self {
            Self(ArcSwapOption::empty())
        }
    }

    /// A short pause in a loop.
    pub(in crate::ledger) fn relax() {
        std::hint::spin_loop();
    }

    static THREADS: AtomicUsize = AtomicUsize::new(0);

    thread_local! {
        static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed);
    }

    /// A number of the calling thread, to spread threads over free lists.
    pub(in crate::ledger) fn shard() -> usize {
        NUMBER.try_with(|number| *number).unwrap_or_default()
    }
}

#[cfg(loom)]
mod modelled {
    use std::collections::HashMap;
    use std::sync::{Arc, LazyLock, Mutex, PoisonError};

    pub(in crate::ledger) use loom::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering};

    pub(in crate::ledger) fn relax() {
        loom::thread::yield_now();
    }

    pub(in crate::ledger) fn shard() -> usize {
        0
    }

    /// The crate that does this without a lock is not known to loom.
    pub(in crate::ledger) struct Slot<T>(loom::sync::Mutex<Option<Arc<T>>>);

    impl<T> Slot<T> {
        fn with<R>(&self, change: impl FnOnce(&mut Option<Arc<T>>) -> R) -> R {
            let mut value = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut value)
        }

        pub(in crate::ledger) fn get(&self) -> Option<Arc<T>> {
            self.with(|now| now.clone())
        }

        pub(in crate::ledger) fn put(&self, value: Option<Arc<T>>) {
            drop(self.with(|now| std::mem::replace(now, value)));
        }
    }

    impl<T> Default for Slot<T> {
        fn default() -> Self {
            Self(loom::sync::Mutex::new(None))
        }
    }

    /// Every value there ever was, so that a number of 64 bits stands for one of 128. No thread of a
    /// model is switched away from while the lock is held.
    #[derive(Default)]
    struct Values {
        numbers: HashMap<u128, u64>,
        values: Vec<u128>,
    }

    static VALUES: LazyLock<Mutex<Values>> = LazyLock::new(Mutex::default);

    fn number(value: u128) -> u64 {
        let mut known = VALUES.lock().unwrap_or_else(PoisonError::into_inner);
        let next = known.values.len() as u64;
        let number = *known.numbers.entry(value).or_insert(next);
        if number == next {
            known.values.push(value);
        }
        number
    }

    fn value(number: u64) -> u128 {
        let known = VALUES.lock().unwrap_or_else(PoisonError::into_inner);
        known.values[usize::try_from(number).unwrap_or(usize::MAX)]
    }

    /// Loom has no 128-bit atomic; one of 64 bits that names the value behaves as one.
    #[derive(Debug)]
    pub(in crate::ledger) struct AtomicU128(AtomicU64);

    impl AtomicU128 {
        pub(in crate::ledger) fn new(initial: u128) -> Self {
            Self(AtomicU64::new(number(initial)))
        }

        pub(in crate::ledger) fn load(&self, order: Ordering) -> u128 {
            value(self.0.load(order))
        }

        pub(in crate::ledger) fn store(&self, new: u128, order: Ordering) {
            self.0.store(number(new), order);
        }

        pub(in crate::ledger) fn compare_exchange(
            &self,
            current: u128,
            new: u128,
            success: Ordering,
            failure: Ordering,
        ) -> Result<u128, u128> {
            self.0
                .compare_exchange(number(current), number(new), success, failure)
                .map(value)
                .map_err(value)
        }
    }

    impl Default for AtomicU128 {
        fn default() -> Self {
            Self::new(0)
        }
    }
}
