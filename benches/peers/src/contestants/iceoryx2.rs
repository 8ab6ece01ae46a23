//! iceoryx2, both ways: publish-subscribe, one service each way, and request-response. Bytes are copied into a loan
//! and out of what arrives, so that both ends have them in memory of their own; where the scenario says untouched,
//! they are not.

use super::{Contestant, End, Room, Standing, shared_name};
use crate::Failure;
use crate::scenario::{Play, Scenario};
use crate::wires::Side;
use iceoryx2::port::{client::Client, publisher::Publisher, server::Server, subscriber::Subscriber};
use iceoryx2::prelude::{
    BackpressureStrategy, Config, FileName, LogLevel, Node, NodeBuilder, SemanticString, SignalHandlingMode, ipc,
    set_log_level,
};
use std::path::Path;

#[derive(Debug, Clone, Copy)]
pub struct Iceoryx2 {
    name: &'static str,
    is_request_response: bool,
}

pub const ALL: [Iceoryx2; 2] = [
    Iceoryx2 { name: "iceoryx2, publish-subscribe", is_request_response: false },
    Iceoryx2 { name: "iceoryx2, request-response", is_request_response: true },
];

/// Longer messages come in pieces of so many bytes, several on their way: a loan as long as the message would have to
/// be filled before the other end could begin to empty it, and would not stay in the cache. Of 256 KiB, 1 MiB and 4 MiB
/// this is the fastest here for 4 MiB and above.
const PIECE: usize = 256 << 10;
const ON_THEIR_WAY: usize = 4;
/// The longest loan.
const LOAN: usize = 4 << 20;

impl Contestant for Iceoryx2 {
    fn name(&self) -> &'static str {
        self.name
    }

    fn standing(&self) -> Standing {
        Standing::Peer
    }

    fn plays(&self, scenario: &Scenario) -> bool {
        match scenario.play {
            Play::RoundTrip | Play::Loan => true,
            Play::OneWay => !self.is_request_response,
            // Its ends watch; sleeping is another of its patterns.
            Play::Asleep | Play::OneCore | Play::Fresh | Play::HandOver | Play::LargeBlocks | Play::SmallBlocks => {
                false
            }
        }
    }

    fn end(&self, side: Side, folder: &Path) -> Result<Box<dyn End>, Failure> {
        set_log_level(LogLevel::Error);
        Ok(match (self.is_request_response, side) {
            (false, _) => Box::new(Services::new(side, folder)?),
            (true, Side::First) => Box::new(Asking::new(folder)?),
            (true, Side::Second) => Box::new(Answering::new(folder)?),
        })
    }

    /// The segment that it keeps for all nodes of its kind outlives them.
    fn clear_up(&self, folder: &Path) -> Result<(), Failure> {
        // Where shared memory has no folder, nobody can look.
        for entry in std::fs::read_dir("/dev/shm").into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix(folder)) {
                std::fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// What all its files outside of `folder` begin with.
fn prefix(folder: &Path) -> String {
    format!("{}_iox2_", shared_name(folder))
}

/// A node of a world of its own: whatever else uses iceoryx2 on this machine has nothing to do with it.
fn node(folder: &Path) -> Result<Node<ipc::Service>, Failure> {
    let mut config = Config::default();
    config.global.set_root_path(&iceoryx2::prelude::Path::new(folder.as_os_str().as_encoded_bytes())?);
    config.global.prefix = FileName::new(prefix(folder).as_bytes())?;
    let builder = NodeBuilder::new().signal_handling_mode(SignalHandlingMode::Disabled).config(&config);
    Ok(builder.create::<ipc::Service>()?)
}

/// Services of publish-subscribe, one each way.
struct Services {
    side: Side,
    /// For bytes that are copied, in pieces.
    copies: Ports,
    /// For whole loans: of their own, as the pieces would lie as far apart as the longest loan is long.
    loans: Ports,
    _node: Node<ipc::Service>,
}

struct Ports {
    publisher: Publisher<ipc::Service, [u8], ()>,
    subscriber: Subscriber<ipc::Service, [u8], ()>,
}

impl Ports {
    fn new(node: &Node<ipc::Service>, ways: [&str; 2], longest: usize) -> Result<Self, Failure> {
        let service = |way: &str| {
            let service = node.service_builder(&way.try_into()?);
            let service = service
                .publish_subscribe::<[u8]>()
                .enable_safe_overflow(false)
                .subscriber_max_buffer_size(ON_THEIR_WAY)
                .max_publishers(1)
                .max_subscribers(1);
            Ok::<_, Failure>(service.open_or_create()?)
        };
        let [outgoing, incoming] = [service(ways[0])?, service(ways[1])?];
        let publisher = outgoing
            .publisher_builder()
            .initial_max_slice_len(longest)
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()?;
        let subscriber = incoming.subscriber_builder().create()?;
        Ok(Ports { publisher, subscriber })
    }
}

impl Services {
    fn new(side: Side, folder: &Path) -> Result<Self, Failure> {
        let node = node(folder)?;
        let ports = |there, back, longest| {
            Ports::new(&node, if side == Side::First { [there, back] } else { [back, there] }, longest)
        };
        let copies = ports("there", "back", PIECE)?;
        let loans = ports("loans there", "loans back", LOAN)?;
        Ok(Services { side, copies, loans, _node: node })
    }
}

impl Ports {
    fn send(&self, bytes: &[u8]) -> Result<(), Failure> {
        for piece in bytes.chunks(PIECE) {
            self.publisher.loan_slice_uninit(piece.len())?.write_from_slice(piece).send()?;
        }
        Ok(())
    }

    fn receive(&self, bytes: &mut [u8]) -> Result<(), Failure> {
        for piece in bytes.chunks_mut(PIECE) {
            piece.copy_from_slice(self.next()?.payload());
        }
        Ok(())
    }

    fn next(&self) -> Result<iceoryx2::sample::Sample<ipc::Service, [u8], ()>, Failure> {
        loop {
            if let Some(sample) = self.subscriber.receive()? {
                return Ok(sample);
            }
            std::hint::spin_loop();
        }
    }

    fn lend(&self, bytes: usize) -> Result<(), Failure> {
        let sample = self.publisher.loan_slice_uninit(bytes)?;
        // SAFETY: bytes of the service's own memory, which is zeros or what an earlier sample wrote there: every value
        // is one of `u8`, and nobody looks.
        unsafe { sample.assume_init() }.send()?;
        Ok(())
    }
}

impl End for Services {
    fn version(&self) -> String {
        "0.10".into()
    }

    fn exchange(&mut self, play: Play, count: u64, room: &mut Room) -> Result<(), Failure> {
        let first = self.side == Side::First;
        for _ in 0..count {
            match (play, first) {
                (Play::RoundTrip, true) => {
                    self.copies.send(&room.outgoing)?;
                    self.copies.receive(&mut room.incoming)?;
                }
                (Play::RoundTrip, false) => {
                    self.copies.receive(&mut room.incoming)?;
                    self.copies.send(&room.incoming)?;
                }
                (Play::OneWay, true) => self.copies.send(&room.outgoing)?,
                (Play::OneWay, false) => self.copies.receive(&mut room.incoming)?,
                (Play::Loan, true) => {
                    self.loans.lend(room.outgoing.len())?;
                    self.loans.next()?;
                }
                (Play::Loan, false) => {
                    assert_eq!(self.loans.next()?.payload().len(), room.incoming.len());
                    self.loans.lend(1)?;
                }
                _ => return Err("its ends do not do that".into()),
            }
        }
        match (play, first) {
            (Play::OneWay, true) if count > 0 => self.copies.receive(&mut [0]),
            (Play::OneWay, false) if count > 0 => self.copies.send(&[0]),
            _ => Ok(()),
        }
    }
}

/// The side that asks.
struct Asking {
    client: Client<ipc::Service, [u8], (), [u8], ()>,
    _node: Node<ipc::Service>,
}

/// The side that answers.
struct Answering {
    server: Server<ipc::Service, [u8], (), [u8], ()>,
    _node: Node<ipc::Service>,
}

macro_rules! request_response {
    ($node:expr) => {
        $node
            .service_builder(&"calls".try_into()?)
            .request_response::<[u8], [u8]>()
            .max_clients(1)
            .max_servers(1)
            .open_or_create()?
    };
}

impl Asking {
    fn new(folder: &Path) -> Result<Self, Failure> {
        let node = node(folder)?;
        let service = request_response!(node);
        let client = service.client_builder().initial_max_slice_len(LOAN).create()?;
        Ok(Asking { client, _node: node })
    }
}

impl Answering {
    fn new(folder: &Path) -> Result<Self, Failure> {
        let node = node(folder)?;
        let service = request_response!(node);
        let server = service.server_builder().initial_max_slice_len(LOAN).create()?;
        Ok(Answering { server, _node: node })
    }
}

impl End for Asking {
    fn version(&self) -> String {
        "0.10".into()
    }

    fn exchange(&mut self, play: Play, count: u64, room: &mut Room) -> Result<(), Failure> {
        for _ in 0..count {
            let request = self.client.loan_slice_uninit(room.outgoing.len())?;
            let request = match play {
                Play::RoundTrip => request.write_from_slice(&room.outgoing),
                // SAFETY: as in `Ports::lend`.
                Play::Loan => unsafe { request.assume_init() },
                _ => return Err("its ends do not do that".into()),
            };
            let pending = request.send()?;
            let response = loop {
                if let Some(response) = pending.receive()? {
                    break response;
                }
                std::hint::spin_loop();
            };
            if play == Play::RoundTrip {
                room.incoming.copy_from_slice(response.payload());
            }
        }
        Ok(())
    }
}

impl End for Answering {
    fn exchange(&mut self, play: Play, count: u64, room: &mut Room) -> Result<(), Failure> {
        for _ in 0..count {
            let request = loop {
                if let Some(request) = self.server.receive()? {
                    break request;
                }
                std::hint::spin_loop();
            };
            match play {
                Play::RoundTrip => {
                    room.incoming.copy_from_slice(request.payload());
                    request.loan_slice_uninit(room.incoming.len())?.write_from_slice(&room.incoming).send()?;
                }
                Play::Loan => {
                    assert_eq!(request.payload().len(), room.incoming.len());
                    request.loan_slice_uninit(1)?.write_from_slice(&[0]).send()?;
                }
                _ => return Err("its ends do not do that".into()),
            }
        }
        Ok(())
    }
}
