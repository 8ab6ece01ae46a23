//! Death: either side killed at every labelled step, by itself, with SIGKILL; and the odd ways in
//! which a process can be gone or seem to be. What the survivor is promised is in docs/recovery.md.
//!
//! `death/victim.rs` how a process comes to die at a step. `death/body.rs` messages that tell their
//! number. `death/exchange.rs` killed while messages go to and fro. `death/flow.rs` killed while
//! bytes flow. `death/door.rs` killed or stopped while it creates, opens, sits, leaves, removes.
//! `death/private.rs` killed while it comes to a private channel or leaves it. `death/delay.rs` how
//! soon the survivor knows. `death/identity.rs` forks, zombies, reused pids, namespaces.
#[path = "support/intruder.rs"]
mod intruder;
mod support;

#[path = "death/body.rs"]
mod body;
#[path = "death/delay.rs"]
mod delay;
#[path = "death/door.rs"]
mod door;
#[path = "death/exchange.rs"]
mod exchange;
#[path = "death/flow.rs"]
mod flow;
#[path = "death/identity.rs"]
mod identity;
// Namespaces and /proc: what Darwin has not, nor the rules that play it.
#[cfg(all(target_os = "linux", not(antiphon_darwin_rules)))]
#[path = "death/linux.rs"]
mod linux;
#[path = "death/private.rs"]
mod private;
#[path = "death/victim.rs"]
mod victim;

use std::collections::BTreeSet;

/// Each test of `exchange` and `door` kills at every step of its own list, or fails; so the steps
/// that were reached are those of the lists, and no label may be missing from them.
#[test]
fn every_labelled_step_is_reached() {
    let all: BTreeSet<&str> = antiphon::steps::ALL.iter().copied().collect();
    assert_eq!(all.len(), antiphon::steps::ALL.len(), "a step is listed twice");
    let killed: BTreeSet<&str> = exchange::STEPS
        .iter()
        .chain(flow::STEPS)
        .chain(door::STEPS)
        .chain(private::STEPS)
        .flat_map(|steps| steps.iter().copied())
        .collect();
    assert_eq!(all, killed, "steps that are listed, and those that a test kills at");
    let mut marked = BTreeSet::new();
    find_marks(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut marked);
    // Those of block files are `blocks_death.rs`'s.
    let of_blocks = antiphon::steps::OF_BLOCKS.iter();
    let listed: BTreeSet<String> = all.iter().chain(of_blocks).map(|step| (*step).to_owned()).collect();
    assert_eq!(listed, marked, "steps that are listed, and those that the code marks");
}

fn find_marks(folder: &std::path::Path, marks: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // A package of its own may have built something there.
        if path.is_dir() && !path.ends_with("target") {
            find_marks(&path, marks);
        }
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let code = std::fs::read_to_string(&path).unwrap();
        for mark in code.split(" step!(").skip(1) {
            let mark = mark.split(");").next().unwrap();
            marks.extend(mark.split('"').skip(1).step_by(2).map(str::to_owned));
        }
    }
}
