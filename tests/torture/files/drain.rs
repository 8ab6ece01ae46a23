//! Who comes to a file when all have gone: it fills what is missing, finishes it, and reads it to its end.

use super::hands::{Part, name_ranges};
use super::writer::Pen;
use super::{Orientation, reader};
use crate::log::{How, What};
use crate::plan::Side;
use crate::worker::Worker;
use antiphon::Error;
use antiphon::blocks::{BlockFile, FileId};
use std::sync::atomic::Ordering::Relaxed;

pub fn run(words: &[String]) {
    let mut worker = Worker::undisturbed(words);
    let here = Orientation::new(&worker.orders);
    let head = &here.control.head().file;
    let numbers = (0..here.plan.parts).map(|part| head.parts[part as usize].load(Relaxed) as u32);
    let ids = match here.plan.parts {
        0 => vec![here.id()],
        _ => numbers.map(|file| FileId { session: here.session, file }).collect(),
    };
    for (part, id) in ids.into_iter().enumerate() {
        drain(&mut worker, &here, part as u64, id);
    }
    if here.plan.parts > 0 {
        // It finds the files and the channel that a dead host left, and lets go of them.
        drop(antiphon::session::SessionOptions::new().id(here.session).host());
    }
    worker.number += 1;
    worker.finish((), true);
}

fn drain(worker: &mut Worker, here: &Orientation, part: u64, id: FileId) {
    worker.number += 1;
    let mut begun = worker.begin(What::Attach, How::Open);
    begun.len = part;
    worker.log.append(begun);
    let opened = BlockFile::open(id).and_then(|file| {
        let (writer, reader) = (file.writer()?, file.reader()?);
        let (missing, state) = (file.missing()?, file.state()?);
        Ok((file, writer, reader, missing, state))
    });
    let mut ended = worker.end(&begun, &opened);
    if let Ok((_, _, _, missing, state)) = &opened {
        name_ranges(worker, &begun, missing);
        (ended.len, ended.id) = (state.bytes_in, state.bytes_out);
    }
    worker.log.append(ended);
    let (file, writer, mut reader) = match opened {
        Ok((file, writer, reader, ..)) => (file, writer, reader),
        Err(Error::NotFound { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    let parts = vec![Some(Part::Alone(file, writer))];
    Pen::new(here, &parts).mend(worker);
    // What it reads stands in the readers' log.
    let mut hands = worker.beside(Side::Reader);
    loop {
        hands.number += 1;
        let mut begun = hands.begin(What::Take, How::TryClaim);
        // It reads one part after the other: the end of one is not the file's.
        begun.spare = part + 1;
        hands.log.append(begun);
        let taken = reader.try_claim();
        if !reader::take(here, &mut hands, &begun, taken, false) {
            break;
        }
    }
    worker.number = hands.number;
}
