//! The life of one end that is Rust: it stands, and does one order after the other until the driver is gone.

use crate::Failure;
use crate::contestants::{self, Contestant, Room};
use crate::order::Answer;
use crate::wires::{OwnWire, Side};
use antiphon::limits::Places;
use std::path::Path;
use std::time::Instant;

pub fn serve(name: &str, side: Side, folder: &Path) -> Result<(), Failure> {
    let mut wire = OwnWire::open(folder, side)?;
    let contestants = contestants::all();
    let contestant = contestants.iter().find(|contestant| contestant.name() == name);
    let contestant = contestant.ok_or_else(|| format!("there is no contestant {name}"))?;
    let done = obey(&mut wire, contestant.as_ref(), side, folder);
    if let Err(failure) = &done {
        // Whether that is heard or not: this end is through.
        let _ = wire.answer(&Answer::Failed(failure.to_string()));
    }
    done
}

fn obey(wire: &mut OwnWire, contestant: &dyn Contestant, side: Side, folder: &Path) -> Result<(), Failure> {
    let mut end = contestant.end(side, folder)?;
    wire.answer(&Answer::Ready { pid: std::process::id(), version: end.version() })?;
    let mut room = Room::default();
    while let Some(order) = wire.hear()? {
        Places::on([order.processor; 2]).pin_caller()?;
        room.make(side, order.play, order.bytes);
        end.get_ready(order.play, order.bytes)?;
        end.exchange(order.play, order.warm, &mut room)?;
        let began = Instant::now();
        end.exchange(order.play, order.count, &mut room)?;
        let took = began.elapsed();
        if !order.keep {
            room.give_up_what_is_large();
        }
        wire.answer(&Answer::Took(took.as_nanos() as u64))?;
    }
    Ok(())
}
