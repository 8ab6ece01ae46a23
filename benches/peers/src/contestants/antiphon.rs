//! antiphon itself, by each way of waiting: calls, messages that are copied in and out, loans and views.

use super::flags::Flags;
use super::{Contestant, End, Room, Standing, shared_name};
use crate::Failure;
use crate::scenario::{Play, Scenario};
use crate::wires::Side;
use antiphon::{ChannelOptions, Consumer, Publisher, Wait};
use std::path::Path;

#[derive(Debug, Clone, Copy)]
pub struct Antiphon {
    name: &'static str,
    wait: Wait,
}

pub const WAITS: [Antiphon; 3] = [
    Antiphon { name: "antiphon, Spin", wait: Wait::Spin },
    Antiphon { name: "antiphon, Adaptive", wait: Wait::Adaptive },
    Antiphon { name: "antiphon, Park", wait: Wait::Park },
];

impl Contestant for Antiphon {
    fn name(&self) -> &'static str {
        self.name
    }

    fn standing(&self) -> Standing {
        Standing::Ours
    }

    fn plays(&self, scenario: &Scenario) -> bool {
        match scenario.play {
            Play::Asleep => self.wait == Wait::Park,
            // Blind watching would only count the kernel's time slices.
            Play::OneCore => self.wait != Wait::Spin,
            Play::Fresh => self.wait == Wait::Adaptive,
            // A gigabyte's time has little to do with waiting, and much with that of the whole run.
            Play::OneWay if scenario.bytes > 64 << 20 => self.wait == Wait::Adaptive,
            Play::RoundTrip | Play::OneWay | Play::Loan => self.wait != Wait::Park,
            // A channel pipelines what it copies, by pieces of its own.
            Play::LargeBlocks => self.wait == Wait::Adaptive,
            Play::HandOver => self.wait == Wait::Spin,
            Play::SmallBlocks => false,
        }
    }

    fn end(&self, side: Side, folder: &Path) -> Result<Box<dyn End>, Failure> {
        let name = shared_name(folder);
        let options = ChannelOptions::new().wait(self.wait);
        let fresh = Fresh { name: name.clone(), options, flags: Flags::open(side, folder)?, step: 0 };
        Ok(match side {
            Side::First => Box::new(Caller { publisher: options.create(&name)?.publisher()?, fresh, first: None }),
            Side::Second => Box::new(Answerer { consumer: options.open(&name)?.consumer()?, fresh, first: None }),
        })
    }
}

/// For channels that are made while the clock runs.
struct Fresh {
    name: String,
    options: ChannelOptions,
    flags: Flags,
    step: u64,
}

impl Fresh {
    /// Both sides run from here on, and meet nowhere else before the channel.
    fn meet(&mut self) {
        self.step += 1;
        self.flags.raise(self.step);
        self.flags.wait(self.step);
    }

    fn name(&self) -> String {
        format!("{}-{}", self.name, self.step)
    }
}

struct Caller {
    publisher: Publisher,
    fresh: Fresh,
    /// The end of the last channel that was made by the clock, let go of when no clock runs.
    first: Option<Publisher>,
}

impl End for Caller {
    fn version(&self) -> String {
        "of this source".into()
    }

    fn get_ready(&mut self, play: Play, _bytes: usize) -> Result<(), Failure> {
        if play == Play::Fresh {
            self.first = None;
            self.fresh.meet();
        }
        Ok(())
    }

    fn exchange(&mut self, play: Play, count: u64, room: &mut Room) -> Result<(), Failure> {
        match play {
            Play::RoundTrip | Play::Asleep | Play::OneCore | Play::HandOver => {
                for _ in 0..count {
                    self.publisher.call_into(&room.outgoing, &mut room.incoming)?;
                }
            }
            Play::OneWay | Play::LargeBlocks => {
                for _ in 0..count {
                    self.publisher.publish(&room.outgoing)?;
                }
                // The short one back. Without messages there is none.
                if count > 0 {
                    self.publisher.call_into(&[], &mut room.incoming)?;
                }
            }
            Play::Loan => {
                // The space is lent again once the other end has let go of it: that is the way back.
                for _ in 0..count {
                    self.publisher.loan(room.outgoing.len())?.publish()?;
                }
                drop(self.publisher.loan(0)?);
            }
            Play::Fresh => {
                for _ in 0..count {
                    let Fresh { options, flags, step, .. } = &self.fresh;
                    let publisher = self.first.insert(options.create(&self.fresh.name())?.publisher()?);
                    flags.raise(step + 1);
                    publisher.publish(&room.outgoing)?;
                    flags.wait(step + 1);
                    self.fresh.step += 1;
                }
            }
            Play::SmallBlocks => return Err("a channel has no blocks".into()),
        }
        Ok(())
    }
}

struct Answerer {
    consumer: Consumer,
    fresh: Fresh,
    first: Option<Consumer>,
}

impl End for Answerer {
    fn get_ready(&mut self, play: Play, _bytes: usize) -> Result<(), Failure> {
        if play == Play::Fresh {
            self.first = None;
            self.fresh.meet();
        }
        Ok(())
    }

    fn exchange(&mut self, play: Play, count: u64, room: &mut Room) -> Result<(), Failure> {
        match play {
            Play::RoundTrip | Play::Asleep | Play::OneCore | Play::HandOver => {
                for _ in 0..count {
                    let message = self.consumer.consume_into(&mut room.incoming)?;
                    message.reply(&room.incoming)?;
                }
            }
            Play::OneWay | Play::LargeBlocks => {
                for _ in 0..count {
                    drop(self.consumer.consume_into(&mut room.incoming)?);
                }
                if count > 0 {
                    self.consumer.consume()?.reply(&[])?;
                }
            }
            Play::Loan => {
                for _ in 0..count {
                    assert_eq!(self.consumer.consume()?.view().len(), room.incoming.len());
                }
            }
            Play::Fresh => {
                for _ in 0..count {
                    let Fresh { options, flags, step, .. } = &self.fresh;
                    flags.wait(step + 1);
                    let consumer = self.first.insert(options.open(&self.fresh.name())?.consumer()?);
                    drop(consumer.consume_into(&mut room.incoming)?);
                    flags.raise(step + 1);
                    self.fresh.step += 1;
                }
            }
            Play::SmallBlocks => return Err("a channel has no blocks".into()),
        }
        Ok(())
    }
}
