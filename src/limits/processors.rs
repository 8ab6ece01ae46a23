//! Where two processes run.

use crate::sys::processor;
use std::sync::OnceLock;

/// What this process might use before anyone was pinned.
fn allowed() -> &'static [usize] {
    static ALLOWED: OnceLock<Vec<usize>> = OnceLock::new();
    ALLOWED.get_or_init(processor::allowed)
}

/// The processors of two processes, the caller's and its partner's.
///
/// ```
/// use antiphon::limits::Places;
///
/// assert!(Places::together().is_one());
/// if let Some(apart) = Places::apart() {
///     assert!(!apart.is_one());
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// None where the system pins nobody.
    cpus: Option<[usize; 2]>,
    is_one: bool,
}

impl Places {
    /// The first two processors that this process may use and that are no threads of one core, where there are such.
    /// `None` where it may use one only.
    ///
    /// Unpinned on macOS, which keeps nobody on a processor: there the two run wherever the system lets them.
    pub fn apart() -> Option<Self> {
        let cpus = allowed();
        if cpus.is_empty() {
            let are_there_two = std::thread::available_parallelism().is_ok_and(|n| n.get() > 1);
            return are_there_two.then_some(Self::unpinned());
        }
        let (first, others) = cpus.split_first()?;
        let is_core_of_its_own = |cpu: &&usize| !processor::are_siblings(*first, **cpu);
        let second = others.iter().find(is_core_of_its_own).or(others.first())?;
        Some(Self::on([*first, *second]))
    }

    /// Both on the first processor that this process may use. Where the system pins nobody it cannot be had, and the
    /// two run anywhere: `cpus` says so.
    pub fn together() -> Self {
        let first = allowed().first().copied();
        Places { cpus: first.map(|cpu| [cpu; 2]), is_one: true }
    }

    /// On these.
    pub fn on(cpus: [usize; 2]) -> Self {
        Places { cpus: Some(cpus), is_one: cpus[0] == cpus[1] }
    }

    /// Wherever the system lets them run.
    pub fn unpinned() -> Self {
        Places { cpus: None, is_one: false }
    }

    /// Which, the caller's first.
    pub fn cpus(&self) -> Option<[usize; 2]> {
        self.cpus
    }

    /// Whether both share a processor.
    pub fn is_one(&self) -> bool {
        self.is_one
    }

    /// Pins this thread to the caller's place.
    ///
    /// # Errors
    /// The system refuses. Where it pins nobody, that is none.
    pub fn pin_caller(&self) -> std::io::Result<()> {
        self.cpus.map_or(Ok(()), |[mine, _]| processor::pin(mine))
    }

    /// Pins this thread to the partner's place.
    ///
    /// # Errors
    /// The system refuses. Where it pins nobody, that is none.
    pub fn pin_partner(&self) -> std::io::Result<()> {
        self.cpus.map_or(Ok(()), |[_, theirs]| processor::pin(theirs))
    }
}
