//! The life of one end that is Rust: it stands, and does one order after the other until the driver is gone.

use crate::Failure;
use crate::contestants::{self, Contestant, Room};
use crate::order::Answer;
use crate::wires::{OwnWire, Side};
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
        stay_on(order.processor)?;
        room.make(side, order.play, order.bytes);
        end.get_ready(order.play, order.bytes)?;
        end.exchange(order.play, order.warm, &mut room)?;
        let began = Instant::now();
        end.exchange(order.play, order.count, &mut room)?;
        let took = began.elapsed();
        room.give_up_what_is_large();
        wire.answer(&Answer::Took(took.as_nanos() as u64))?;
    }
    Ok(())
}

/// Keeps this process on one processor, where the system can.
fn stay_on(processor: usize) -> Result<(), Failure> {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: a cpu set is plain data, and all zeros is the empty one.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        if processor >= 8 * size_of_val(&set) {
            return Err(format!("there is no processor {processor}").into());
        }
        // SAFETY: the set has room for it.
        unsafe { libc::CPU_SET(processor, &mut set) };
        // SAFETY: the call reads a set of the length that is given.
        if unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) } != 0 {
            return Err(format!("processor {processor}: {}", std::io::Error::last_os_error()).into());
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = processor;
    Ok(())
}
