//! The limits as contestants: bare memory, bare semaphores, bare copies. They are between the driver and a partner of
//! its own, and not two processes more: whoever measures them sleeps while the others play.

use crate::Failure;
use crate::bars::{MEMCPY, SEMAPHORES};
use crate::scenario::{Play, Scenario};
use antiphon::limits::{Contestant, Copying, Pair, PingPong, Semaphores, Way};

/// A limit with its name.
type Named<'p> = (String, Box<dyn Contestant + 'p>);

/// Those that bound a scenario.
pub fn of<'p>(scenario: &Scenario, pair: &'p Pair) -> Result<Vec<Named<'p>>, Failure> {
    Ok(match scenario.play {
        Play::RoundTrip => {
            let bare = |way: Way| {
                let contestant: Box<dyn Contestant> = Box::new(PingPong::new(pair, way)?);
                Ok((bare_name(&way), contestant))
            };
            Way::all(scenario.bytes).into_iter().map(bare).collect::<Result<_, Failure>>()?
        }
        Play::Asleep | Play::OneCore => vec![(SEMAPHORES.to_owned(), Box::new(Semaphores::new(pair)))],
        Play::OneWay => vec![(MEMCPY.to_owned(), Box::new(Copying::new(scenario.bytes)?))],
        // The limit of blocks needs two processes of its own: `contestants/bare.rs`.
        Play::Loan | Play::Fresh | Play::HandOver | Play::LargeBlocks | Play::SmallBlocks => Vec::new(),
    })
}

fn bare_name(way: &Way) -> String {
    format!("bare: {}", way.name())
}

/// Whether a name in a league is a limit's.
pub fn is_limit(contestant: &str) -> bool {
    contestant.starts_with("bare: ") || [MEMCPY, SEMAPHORES].contains(&contestant)
}
