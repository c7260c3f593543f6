//! Accounts, and how several of them are replaced at one instant.
//!
//! An account is one pointer to a [`State`] that is never changed. A request on one account is one
//! compare-and-swap of it. A request on several is a [`Claim`]: it has, for each account, the state
//! that it found and the one that it wants, and its pointer is put in the place of each state found, in
//! the order of their names. When it stands in all of them, one compare-and-swap on its status decides
//! it, and then each account gets the state that was wanted. Whoever finds an undecided claim brings it
//! to its end himself, so nobody waits for a thread that was suspended. Until it is decided, the states
//! found are what counts: so a claim that comes to nothing refuses nobody, and nothing is ever undone.
//! (Harris, Fraser, Pratt: A practical multi-word compare-and-swap operation, 2002. Their conditional
//! swap is not needed here: a state is a value of its own that never comes back once a wanted one
//! took its place, so a claim that is put in late, after its end, can only be one that has failed, and
//! is taken out again like any other.)

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::state::State;
use super::sync::{AtomicU8, AtomicU32, Cell, Ordering};

/// Whose requests are counted.
pub(super) struct Account {
    name: Box<str>,
    cell: Cell<Node>,
    /// How many leases have ended, round and round. It only grows: so whoever reads it after a state
    /// sees no fewer under way than there were when he read it, and who puts a state in the place of
    /// that one no more.
    ended: AtomicU32,
}

/// What an account's pointer points to.
pub(super) enum Node {
    State(State),
    /// The account was forgotten; nothing happens on it any more.
    Closed,
    Claim(Claim),
}

impl Node {
    #[inline]
    pub(super) fn state(state: State) -> Arc<Self> {
        Arc::new(Self::State(state))
    }
}

const UNDECIDED: u8 = 0;
const MADE: u8 = 1;
const FAILED: u8 = 2;

/// States to be put in the place of others, all or none.
pub(super) struct Claim {
    status: AtomicU8,
    steps: Box<[Step]>,
}

/// One account's part of a claim.
pub(super) struct Step {
    account: Arc<Account>,
    old: Arc<Node>,
    new: Arc<Node>,
}

impl Step {
    pub(super) fn new(account: &Arc<Account>, old: Arc<Node>, new: Arc<Node>) -> Self {
        Self {
            account: Arc::clone(account),
            old,
            new,
        }
    }
}

impl Account {
    pub(super) fn new(name: &str, state: State) -> Self {
        Self {
            name: name.into(),
            cell: Cell::new(Node::State(state)),
            ended: AtomicU32::new(0),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What it points to, no claim: one that stands there is brought to its end.
    pub(super) fn current(&self) -> Arc<Node> {
        loop {
            let found = self.cell.load();
            let Node::Claim(claim) = &*found else {
                return found;
            };
            claim.finish(&found);
        }
    }

    /// Puts a state in the place of the one that was found, if that is still there.
    pub(super) fn replace(&self, old: &Arc<Node>, new: Arc<Node>) -> bool {
        self.cell.replace(old, new)
    }

    /// How many leases have ended; to be read after the state.
    pub(super) fn ended(&self) -> u32 {
        self.ended.load(Ordering::Acquire)
    }

    pub(super) fn end_lease(&self) {
        self.ended.fetch_add(1, Ordering::AcqRel);
    }

    /// Puts another state in the place of whatever is there.
    pub(super) fn update(&self, change: impl Fn(&State) -> State) {
        loop {
            let found = self.current();
            // Only an account that nobody holds is closed, and who updates holds it.
            let Node::State(state) = &*found else { return };
            if self.replace(&found, Node::state(change(state))) {
                return;
            }
        }
    }

    /// Closes it, if the state that was found is still there.
    pub(super) fn close(&self, old: &Arc<Node>) -> bool {
        self.cell.replace(old, Arc::new(Node::Closed))
    }
}

/// Puts all states in their places, or none: then somebody else was faster.
pub(super) fn replace_all(mut steps: Vec<Step>) -> bool {
    steps.sort_unstable_by(|one, other| one.account.name.cmp(&other.account.name));
    let claim = Arc::new(Node::Claim(Claim {
        status: AtomicU8::new(UNDECIDED),
        steps: steps.into_boxed_slice(),
    }));
    match &*claim {
        Node::Claim(steps) => steps.finish(&claim),
        Node::State(_) | Node::Closed => false,
    }
}

impl Claim {
    fn status(&self) -> u8 {
        self.status.load(Ordering::Acquire)
    }

    /// Decides it, unless that was done.
    fn decide(&self, status: u8) {
        // Whoever was first is right.
        let _ =
            self.status
                .compare_exchange(UNDECIDED, status, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Brings it to its end, whoever made it; says whether it was made. `node` is what it stands in.
    fn finish(&self, node: &Arc<Node>) -> bool {
        let stands = self.steps.iter().all(|step| self.stand(step, node));
        self.decide(if stands { MADE } else { FAILED });
        let made = self.status() == MADE;
        for step in &self.steps {
            let rest = if made { &step.new } else { &step.old };
            step.account.cell.replace(node, Arc::clone(rest));
        }
        made
    }

    /// Puts it in an account; false when it was decided, or when its state is not there any more.
    fn stand(&self, step: &Step, node: &Arc<Node>) -> bool {
        loop {
            if self.status() != UNDECIDED {
                return false;
            }
            if step.account.cell.replace(&step.old, Arc::clone(node)) {
                return true;
            }
            let found = step.account.cell.load();
            if Arc::ptr_eq(&found, node) {
                return true;
            }
            match &*found {
                // In one order: so who helps another one finds him further on, and nobody in a ring.
                Node::Claim(other) => {
                    other.finish(&found);
                }
                _ if Arc::ptr_eq(&found, &step.old) => {}
                Node::State(_) | Node::Closed => return false,
            }
        }
    }
}

/// An account in the map, found by its name.
#[derive(Clone)]
pub(super) struct Named(pub(super) Arc<Account>);

impl std::borrow::Borrow<str> for Named {
    fn borrow(&self) -> &str {
        self.0.name()
    }
}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name().hash(state);
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl Eq for Named {}
