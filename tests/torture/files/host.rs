//! The process that hosts a session.

use super::Orientation;
use crate::log::{How, What};
use crate::worker::Worker;
use antiphon::session::SessionOptions;
use std::time::Duration;

pub fn run(words: &[String]) {
    let mut worker = Worker::new(words);
    let here = Orientation::new(&worker.orders);
    let options = SessionOptions::new().id(here.session).block_bytes(here.plan.block_bytes).blocks(here.plan.blocks);
    worker.number += 1;
    worker.befall();
    let begun = worker.begin(What::Attach, How::Host);
    worker.log.append(begun);
    let host = options.host();
    worker.log.append(worker.end(&begun, &host));
    let Ok(host) = host else { return };
    for _ in 0..worker.life.operations {
        worker.number += 1;
        worker.befall();
        let begun = worker.begin(What::Attach, How::Session);
        worker.log.append(begun);
        std::thread::sleep(Duration::from_micros(500 + worker.dice.below(2000)));
    }
    worker.finish(host, false);
}
