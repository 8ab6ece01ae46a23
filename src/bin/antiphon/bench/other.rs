//! The other process of a measurement, and the calls that are measured.
//!
//! Orders travel by the very channel that is measured: a call that says what comes, both sides asleep until then, so
//! that nobody disturbs the limits. When either process dies, the channel tells the other.

use super::histogram::Histogram;
use antiphon::limits::{Class, Contestant, Pace, Places};
use antiphon::{Channel, ChannelOptions, Consumer, Error, Publisher, Wait};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long the other process may take to hear an order: far more than it needs.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Calls that are answered with as many bytes, copied in and out on both sides: nanoseconds a round trip.
    Calls,
    /// Calls of bytes that are lent and looked at where they stand, untouched, answered with none.
    Loans,
    /// Messages one way, copied in and out: nanoseconds a message.
    OneWay,
}

#[derive(Debug, Clone, Copy)]
enum Order {
    Pin(usize),
    Answer { work: Work, bytes: usize, wait: Wait, count: u64 },
}

impl Order {
    fn to_bytes(self) -> Vec<u8> {
        let words = match self {
            Order::Pin(cpu) => [0, cpu as u64, 0, 0],
            Order::Answer { work, bytes, wait, count } => {
                let wait = match wait {
                    Wait::Spin => 0,
                    Wait::Park => 1,
                    _ => 2,
                };
                [1 + work as u64, bytes as u64, wait, count]
            }
        };
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Order> {
        let mut words = bytes.chunks_exact(8).filter_map(|word| Some(u64::from_le_bytes(word.try_into().ok()?)));
        let [kind, bytes, wait, count] = [words.next()?, words.next()?, words.next()?, words.next()?];
        let bytes = usize::try_from(bytes).ok()?;
        let wait = [Wait::Spin, Wait::Park, Wait::Adaptive].get(usize::try_from(wait).ok()?).copied()?;
        let work = match kind {
            0 => return Some(Order::Pin(bytes)),
            1 => Work::Calls,
            2 => Work::Loans,
            3 => Work::OneWay,
            _ => return None,
        };
        Some(Order::Answer { work, bytes, wait, count })
    }
}

/// The other process, as this one sees it.
pub struct Other {
    publisher: RefCell<Publisher>,
    child: Child,
    pid: u32,
}

impl Other {
    /// Starts this program once more to answer. The channel has lost its name when this returns, so that nothing is
    /// left of it whoever is killed.
    pub fn start() -> io::Result<Self> {
        let name = format!("bench-{}", std::process::id());
        let channel = ChannelOptions::new().wait(Wait::Park).create(&name)?;
        let publisher = RefCell::new(channel.publisher()?);
        let mut command = Command::new(std::env::current_exe()?);
        command.args([super::ANSWER, &name]).stdin(Stdio::null()).stdout(Stdio::piped());
        // Who interrupts this process does not mean the other one, which ends when this one has.
        let mut child = command.process_group(0).spawn()?;
        // A word when it has taken its seat; the end of the pipe where it died before.
        let word = child.stdout.take().map_or(Ok(0), |mut output| output.read(&mut [0; 1]));
        let other = Other { pid: child.id(), child, publisher };
        // It has the channel open, or never will.
        let removed = Channel::unlink(&name);
        if word? == 0 {
            return Err(io::Error::other("the other process ended before it came to the channel"));
        }
        removed?;
        Ok(other)
    }

    /// Moves the other process. Where the system pins nobody it stays where it is.
    pub fn place(&self, places: Places) -> io::Result<()> {
        places.cpus().map_or(Ok(()), |[_, theirs]| self.order(Order::Pin(theirs)))
    }

    fn order(&self, order: Order) -> io::Result<()> {
        let mut publisher = self.publisher.borrow_mut();
        publisher.set_wait(Wait::Park);
        publisher.call_timeout(&order.to_bytes(), PATIENCE)?;
        Ok(())
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        // Nothing that it does is worth waiting for; waited for, so that it leaves no zombie.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The other process's life.
pub fn answer(name: &str) -> io::Result<()> {
    let mut consumer = ChannelOptions::new().wait(Wait::Park).open(name)?.consumer()?;
    println!();
    let mut bytes = Vec::new();
    loop {
        consumer.set_wait(Wait::Park);
        let served = consumer.consume_into(&mut bytes).and_then(|message| {
            let order = Order::from_bytes(&bytes);
            message.reply(&[])?;
            Ok(order)
        });
        match served {
            Ok(Some(Order::Pin(cpu))) => Places::on([cpu; 2]).pin_partner()?,
            Ok(Some(Order::Answer { work, bytes: len, wait, count })) => {
                consumer.set_wait(wait);
                work_off(&mut consumer, work, len, count, &mut bytes)?;
            }
            Ok(None) => return Err(io::Error::new(io::ErrorKind::InvalidData, "an order that is none")),
            // The other one has left, in order or not; it knows why.
            Err(Error::Disconnected { .. } | Error::PeerDied { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// A loop for each kind, since what stands beside a call in its loop is measured with it.
fn work_off(consumer: &mut Consumer, work: Work, len: usize, count: u64, bytes: &mut Vec<u8>) -> Result<(), Error> {
    match work {
        Work::Calls => {
            answers(consumer, count, bytes)?;
        }
        Work::Loans => {
            for _ in 0..count {
                let message = consumer.consume()?;
                black_box(message.view().len() == len);
                message.reply(&[])?;
            }
        }
        Work::OneWay => {
            for _ in 0..count {
                let message = consumer.consume_into(bytes)?;
                if message.is_call() {
                    message.reply(&[])?;
                }
            }
        }
    }
    Ok(())
}

/// One kind of work as something that is measured.
pub struct Ours<'o> {
    other: &'o Other,
    work: Work,
    bytes: usize,
    wait: Wait,
    pace: Pace,
    message: Vec<u8>,
    reply: Vec<u8>,
    /// What one reading of the clock takes.
    clock_nanos: f64,
    /// What it adds to a call to be timed alone, as it was in each sample so far.
    added: Vec<f64>,
    /// The single calls of the last sample in nanoseconds, that included; and those of all kept ones, without.
    last: Vec<u64>,
    kept: BTreeMap<Class, Histogram>,
}

impl<'o> Ours<'o> {
    pub fn new(other: &'o Other, work: Work, bytes: usize, wait: Wait) -> Self {
        let message = if work == Work::Loans { Vec::new() } else { vec![7; bytes] };
        Ours {
            other,
            work,
            bytes,
            wait,
            pace: Pace::default(),
            message,
            reply: Vec::new(),
            clock_nanos: clock_nanos(),
            added: Vec::new(),
            last: Vec::new(),
            kept: BTreeMap::new(),
        }
    }

    /// The single calls of all kept samples of a class.
    pub fn singles(&self, class: Class) -> Option<&Histogram> {
        self.kept.get(&class)
    }

    /// So many calls or messages, with a loop for each kind; `after` each one.
    fn repeat(&mut self, publisher: &mut Publisher, count: u64, mut after: impl FnMut()) -> Result<(), Error> {
        match self.work {
            Work::Calls => calls(publisher, &self.message, &mut self.reply, count, after)?,
            Work::Loans => {
                for _ in 0..count {
                    publisher.loan(self.bytes)?.call()?;
                    after();
                }
            }
            Work::OneWay => {
                for _ in 0..count {
                    publisher.publish(&self.message)?;
                    after();
                }
                publisher.call_into(&[], &mut self.reply)?; // Until the last one is consumed.
            }
        }
        Ok(())
    }

    /// Nanoseconds each, of so many at a stretch.
    fn stretch(&mut self, publisher: &mut Publisher, count: u64) -> Result<f64, Error> {
        let began = Instant::now();
        self.repeat(publisher, count, || ())?;
        Ok(began.elapsed().as_nanos() as f64 / count as f64)
    }

    fn measure(&mut self, spell: Duration) -> io::Result<f64> {
        let other = self.other;
        let count = self.pace.count(spell);
        let warm = (count / 8).clamp(1, 20);
        let singles = if self.work == Work::OneWay { 0 } else { count };
        let closing = if self.work == Work::OneWay { 2 } else { 0 };
        let order = Order::Answer {
            work: self.work,
            bytes: self.bytes,
            wait: self.wait,
            count: warm + count + singles + closing,
        };
        other.order(order)?;
        let publisher = &mut *other.publisher.borrow_mut();
        publisher.set_wait(self.wait);
        self.stretch(publisher, warm)?;
        let nanos = self.stretch(publisher, count)?;
        if singles > 0 {
            let mut last = std::mem::take(&mut self.last);
            last.reserve(singles as usize);
            let began = Instant::now();
            let mut before = began;
            self.repeat(publisher, singles, || {
                let now = Instant::now();
                last.push(now.duration_since(before).as_nanos() as u64);
                before = now;
            })?;
            self.added.push(before.duration_since(began).as_nanos() as f64 / singles as f64 - nanos);
            self.last = last;
        }
        self.pace.learn(nanos);
        Ok(nanos)
    }
}

impl Contestant for Ours<'_> {
    fn sample(&mut self, spell: Duration) -> io::Result<f64> {
        // Half of it at a stretch, for the median; half call by call, for how they spread.
        let spell = if self.work == Work::OneWay { spell } else { spell / 2 };
        self.measure(spell)
    }

    fn partner(&self) -> Option<u32> {
        Some(self.other.pid)
    }

    fn judged(&mut self, class: Option<Class>) {
        let added = self.added_nanos();
        if let Some(class) = class {
            let kept = self.kept.entry(class).or_default();
            self.last.iter().for_each(|nanos| kept.add(nanos.saturating_sub(added)));
        }
        self.last.clear();
    }
}

impl Ours<'_> {
    /// What being timed alone adds: the median of what it added in each sample. It is a reading of the clock, and what
    /// that keeps from being done meanwhile: three of them at most. Long calls differ by more than that from one
    /// stretch to the next.
    fn added_nanos(&self) -> u64 {
        let mut added = self.added.clone();
        added.sort_by(f64::total_cmp);
        let median = added.get(added.len() / 2).copied().unwrap_or(0.0);
        median.clamp(self.clock_nanos, 3.0 * self.clock_nanos) as u64
    }
}

// The two loops that are held against the bare line stand alone: among others they took 10 ns a round trip more.

#[inline(never)]
fn calls(
    publisher: &mut Publisher,
    message: &[u8],
    reply: &mut Vec<u8>,
    count: u64,
    mut after: impl FnMut(),
) -> Result<(), Error> {
    for _ in 0..count {
        publisher.call_into(message, reply)?;
        after();
    }
    Ok(())
}

#[inline(never)]
fn answers(consumer: &mut Consumer, count: u64, bytes: &mut Vec<u8>) -> Result<(), Error> {
    for _ in 0..count {
        let message = consumer.consume_into(bytes)?;
        message.reply(bytes)?;
    }
    Ok(())
}

/// What one reading of the clock takes.
fn clock_nanos() -> f64 {
    const READINGS: u32 = 20_000;
    let began = Instant::now();
    for _ in 0..READINGS {
        black_box(Instant::now());
    }
    began.elapsed().as_nanos() as f64 / f64::from(READINGS)
}
