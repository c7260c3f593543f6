//! A fair pool of things that one caller at a time may use, and its behaviour in a forked process.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

/// Items lent out one caller at a time, in the order in which callers came.
#[derive(Debug)]
pub(crate) struct FairPool<T> {
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    idle: Vec<T>,
    // Nobody waits while an item is idle: an item that comes back goes to the first in line.
    waiting: VecDeque<SyncSender<T>>,
}

impl<T> FairPool<T> {
    pub(crate) fn new(items: Vec<T>) -> Self {
        Self {
            state: Mutex::new(State {
                idle: items,
                waiting: VecDeque::new(),
            }),
        }
    }

    /// Runs `work` with an item, after waiting behind those who came before while all are in use.
    ///
    /// The item goes back also when `work` panics. The wait has no end in a pool without items: a pool is
    /// made with at least one.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut T) -> R) -> R {
        let mut item = self.take();
        let outcome = catch_unwind(AssertUnwindSafe(|| work(&mut item)));
        self.give_back(item);
        match outcome {
            Ok(result) => result,
            Err(panic) => resume_unwind(panic),
        }
    }

    fn take(&self) -> T {
        loop {
            let turn = {
                let mut state = self.lock();
                if let Some(item) = state.idle.pop() {
                    return item;
                }
                let (hand, turn) = sync_channel(1);
                state.waiting.push_back(hand);
                turn
            };
            // The other end stands in the queue until an item is put through it, so this succeeds; to
            // ask again is what is left to a compiler that cannot know.
            if let Ok(item) = turn.recv() {
                return item;
            }
        }
    }

    fn give_back(&self, mut item: T) {
        let mut state = self.lock();
        while let Some(next) = state.waiting.pop_front() {
            match next.send(item) {
                Ok(()) => return,
                // Whoever waited is gone: the next in line gets it.
                Err(refused) => item = refused.0,
            }
        }
        state.idle.push(item);
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing that may panic runs under the lock, so a poisoned one is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A value that each process makes for itself.
///
/// After a fork the child holds a copy of the parent's memory and none of its threads: a lock that
/// another thread held stays locked for ever, and a worker that a session waits for does not exist. So
/// what the parent made is neither used nor dropped in a child; the child makes its own the first time it
/// needs it, in the next link of a chain. A link is told by the process id that made it.
///
/// (A process id that comes round again within a chain of forks, none of which used the value in between,
/// would be taken for the same process.)
#[derive(Debug)]
pub(crate) struct PerProcess<T> {
    process: u32,
    value: OnceLock<T>,
    // Held while the value is made, so that it is made once; born unlocked in the process that uses it.
    making: Mutex<()>,
    next: OnceLock<Box<Self>>,
}

impl<T> PerProcess<T> {
    /// A value that this process has made already.
    pub(crate) fn new(value: T) -> Self {
        Self::link(OnceLock::from(value))
    }

    fn link(value: OnceLock<T>) -> Self {
        Self {
            process: process::id(),
            value,
            making: Mutex::new(()),
            next: OnceLock::new(),
        }
    }

    /// This process's value, made by `make` when there is none yet.
    pub(crate) fn get<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<&T, E> {
        let mut link = self;
        loop {
            if let Some(next) = link.next.get() {
                link = next;
            } else if link.process == process::id() {
                break;
            } else {
                link = link
                    .next
                    .get_or_init(|| Box::new(Self::link(OnceLock::new())));
            }
        }
        if let Some(value) = link.value.get() {
            return Ok(value);
        }
        let _alone = link.making.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = link.value.get() {
            return Ok(value);
        }
        let value = make()?;
        Ok(link.value.get_or_init(|| value))
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        if self.process != process::id() {
            std::mem::forget(self.value.take());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, Barrier, Mutex, mpsc};
    use std::thread;

    use super::{FairPool, PerProcess};

    #[test]
    fn no_item_is_ever_lent_to_two_at_once() {
        let pool = FairPool::new(vec![AtomicUsize::new(0), AtomicUsize::new(0)]);
        let together = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..500 {
                        pool.with(|users| {
                            assert_eq!(users.fetch_add(1, Ordering::SeqCst), 0);
                            assert!(together.fetch_add(1, Ordering::SeqCst) < 2);
                            thread::yield_now();
                            together.fetch_sub(1, Ordering::SeqCst);
                            users.fetch_sub(1, Ordering::SeqCst);
                        });
                    }
                });
            }
        });
        let state = pool.lock();
        assert_eq!((state.idle.len(), state.waiting.len()), (2, 0));
    }

    #[test]
    fn those_who_wait_are_served_in_the_order_in_which_they_came() {
        let pool = Arc::new(FairPool::new(vec![()]));
        let served = Arc::new(Mutex::new(Vec::new()));
        let (release, held) = mpsc::channel::<()>();
        let taken = Arc::new(Barrier::new(2));
        let holder = {
            let (pool, taken) = (Arc::clone(&pool), Arc::clone(&taken));
            thread::spawn(move || {
                pool.with(|()| {
                    taken.wait();
                    held.recv().expect("the test lets go");
                });
            })
        };
        taken.wait();
        let mut callers = Vec::new();
        for number in 0..6 {
            let (their_pool, their_served) = (Arc::clone(&pool), Arc::clone(&served));
            callers.push(thread::spawn(move || {
                their_pool.with(|()| their_served.lock().expect("unpoisoned").push(number));
            }));
            // The next caller comes only when this one stands in line.
            while pool.lock().waiting.len() <= number {
                thread::yield_now();
            }
        }
        release.send(()).expect("the holder waits");
        holder.join().expect("no panic");
        for caller in callers {
            caller.join().expect("no panic");
        }
        assert_eq!(*served.lock().expect("unpoisoned"), [0, 1, 2, 3, 4, 5]);
    }

    #[test]
    fn an_item_comes_back_when_the_work_panics() {
        let pool = FairPool::new(vec![7]);
        let outcome = catch_unwind(AssertUnwindSafe(|| pool.with(|_| panic!("on purpose"))));
        assert!(outcome.is_err());
        assert_eq!(pool.with(|item| *item), 7);
    }

    #[test]
    fn a_process_makes_its_value_once_and_keeps_it() {
        let value = PerProcess::new(1);
        let kept = value.get(|| Err("made again"));
        assert_eq!(kept, Ok(&1));
    }

    #[test]
    fn a_value_of_another_process_is_neither_used_nor_dropped() {
        struct Noisy(Arc<AtomicUsize>);
        impl Drop for Noisy {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        let (inherited, own) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut value = PerProcess::new(Noisy(Arc::clone(&inherited)));
        // As a forked child finds it: made under an id that is not its own.
        value.process = value.process.wrapping_add(1);
        let made = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let mine = value.get(|| {
                        made.fetch_add(1, Ordering::SeqCst);
                        Ok::<_, ()>(Noisy(Arc::clone(&own)))
                    });
                    assert!(mine.is_ok_and(|mine| Arc::ptr_eq(&mine.0, &own)));
                });
            }
        });
        assert_eq!(made.load(Ordering::SeqCst), 1);
        drop(value);
        assert_eq!(
            inherited.load(Ordering::SeqCst),
            0,
            "the parent's is left alone"
        );
        assert_eq!(own.load(Ordering::SeqCst), 1, "its own is dropped");
    }

    #[test]
    fn a_value_that_cannot_be_made_is_tried_again() {
        let mut value = PerProcess::new(0);
        value.process = value.process.wrapping_add(1);
        assert_eq!(value.get(|| Err("not yet")), Err("not yet"));
        assert_eq!(value.get(|| Ok::<_, &str>(2)), Ok(&2));
    }
}
