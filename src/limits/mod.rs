//! What this machine can do, measured in the way that a channel is: feature `limits`.
//!
//! A time alone says nothing about a program: on another machine it is another one. So what is measured stands beside
//! the **limit**, which is bare memory, bare semaphores and bare copies between the same two processors in the same
//! run; and what is said of it is the ratio. `antiphon bench` and the benches use this; a program that wants to know
//! how near its own use comes to the limit can, too.
//!
//! | limit | of what |
//! |---|---|
//! | the fastest of [`Way::all`] | handing bytes over and back, both sides awake |
//! | [`Semaphores`] | the same, both asleep; on two processors, or on one |
//! | [`Copying`] | moving many bytes: one processor's `memcpy` |
//!
//! A [`Pair`] is the two processes. [`Steady`] has any number of [`Contestant`]s take turns, and throws away what was
//! disturbed; limits are contestants like all others.
//!
//! **When the partner dies** by whatever means, the sample in hand ends with an error. Nothing is left behind: the
//! names are gone as soon as both sides have opened them.
//!
//! ```no_run
//! use antiphon::limits::{self, Class, Contestant, Pair, PingPong, Places, Steady, Way};
//!
//! fn main() -> std::io::Result<()> {
//!     limits::answer_if_asked(); // In the process that `Pair::start` starts, does not return.
//!     let Some(places) = Places::apart() else { return Ok(()) };
//!     let pair = Pair::start(std::process::Command::new(std::env::current_exe()?), places)?;
//!     let ways = Way::all(64);
//!     let mut bare = ways.iter().map(|way| PingPong::new(&pair, *way)).collect::<std::io::Result<Vec<_>>>()?;
//!     let mut contestants: Vec<&mut dyn Contestant> = bare.iter_mut().map(|one| one as &mut dyn Contestant).collect();
//!     let outcome = Steady::new().run(&pair, &mut contestants, &mut || Ok(()))?;
//!     if let Some((which, figures)) = outcome.fastest(0..ways.len(), Class::Near) {
//!         println!("64 bytes to and fro: {:.0} ns ({})", figures.median, ways[which].name());
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Its files, in reading order
//!
//! `steady.rs` sampling; `ping_pong.rs`, `semaphores.rs`, `copying.rs` the limits; `pair.rs` the two processes;
//! `processors.rs` where they run.

mod copying;
mod pair;
mod ping_pong;
mod processors;
mod semaphores;
mod steady;

pub use copying::Copying;
pub use pair::Pair;
pub use ping_pong::{Between, MOST_BYTES, PingPong, Way};
pub use processors::Places;
pub use semaphores::Semaphores;
pub use steady::{Class, Contestant, ENOUGH, Figures, Outcome, Pace, SPELL, Steady};

/// In a process that [`Pair::start`] started, does what the caller orders until that ends, and ends the process with
/// it; in any other one, returns at once. To be called before anything else.
///
/// ```
/// antiphon::limits::answer_if_asked();
/// println!("not a partner");
/// ```
pub fn answer_if_asked() {
    pair::answer_if_asked();
}
