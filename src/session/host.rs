//! The host: the consumer's end of the session's channel, and the table that it answers from.

use super::SessionOptions;
use super::protocol::MOST_REQUEST_BYTES;
use super::table::Table;
use super::{CAPACITY, SHORT, name_of};
use crate::bell::Wait;
use crate::channel::{ChannelOptions, Consumer, Message};
use crate::error::Error;
use crate::sys::peer::TICK;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;

/// A session's host, for as long as this lives.
///
/// Dropped, it lets go of its files: those who have one open go on with it, and what nobody has read stays there for
/// the next host of the same id. A file in which there is nothing, and that nobody else has open, is gone.
///
/// # Peer death
/// A caller that dies is nothing to the host. When the host dies, the files stay open to whoever has them open; a
/// caller in the middle of a call gets [`Error::PeerDied`]; and the next host of the same id knows the same files.
///
/// ```
/// use antiphon::Error;
/// use antiphon::session::{Session, SessionOptions};
///
/// let host = SessionOptions::new().host()?;
/// let again = SessionOptions::new().id(host.id()).host();
/// assert!(matches!(again, Err(Error::InUse { .. })));
/// assert!(Session::connect(host.id())?.files()?.is_empty());
/// # Ok::<(), antiphon::Error>(())
/// ```
pub struct Host {
    id: u64,
    pid: u32,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    pub(super) fn start(options: &SessionOptions) -> Result<Self, Error> {
        // Wrong options are known before anybody calls.
        options.of_files().check()?;
        let (id, consumer) = match options.id {
            Some(id) => (id, sit(id, options)?),
            None => loop {
                // Somebody may have drawn the same number: it will not happen twice.
                let id = crate::sys::nonce();
                match sit(id, options) {
                    Err(Error::InUse { .. }) => {}
                    seated => break (id, seated?),
                }
            },
        };
        let table = Table::rebuild(id, options)?;
        let is_over = Arc::new(AtomicBool::new(false));
        let thread = std::thread::Builder::new().name("antiphon session".to_owned()).spawn({
            let is_over = Arc::clone(&is_over);
            move || serve(consumer, table, &is_over)
        });
        let thread = thread.map_err(|error| Error::system(&name_of(id), "pthread_create", error))?;
        Ok(Host { id, pid: std::process::id(), is_over, thread: Some(thread) })
    }

    /// The session's id, to connect to.
    pub fn id(&self) -> u64 {
        self.id
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // Relaxed: the thread is waited for.
        self.is_over.store(true, Relaxed);
        // In a forked child there is no such thread, and waiting for it would never end.
        let is_mine = std::process::id() == self.pid;
        if let Some(thread) = self.thread.take().filter(|_| is_mine) {
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("id", &name_of(self.id)).finish_non_exhaustive()
    }
}

/// Takes the host's seat: whoever has it is the session's one host.
fn sit(id: u64, options: &SessionOptions) -> Result<Consumer, Error> {
    let channel = ChannelOptions::new().capacity(CAPACITY).wait(Wait::Park);
    let channel = options.mode.map_or(channel, |mode| channel.mode(mode));
    let mut patience = 100;
    loop {
        // Callers of a dead host may be there.
        let seated = channel.open_or_create(&name_of(id)).and_then(|channel| channel.consumer());
        match seated {
            Err(Error::SeatTaken { name, seat: "consumer", pid }) => return Err(Error::InUse { name, pid }),
            // Those who look whether there is a host. They leave again.
            Err(Error::SeatTaken { .. }) if patience > 0 => {
                patience -= 1;
                std::thread::sleep(SHORT);
            }
            other => return other,
        }
    }
}

fn serve(mut consumer: Consumer, mut table: Table, is_over: &AtomicBool) {
    // Relaxed: as in `drop`.
    while !is_over.load(Relaxed) {
        match consumer.consume_timeout(TICK) {
            Ok(message) => answer(message, &mut table),
            // Callers come and go, and what is left by one that broke its word was let go of.
            Err(
                Error::TimedOut { .. }
                | Error::Disconnected { .. }
                | Error::PeerDied { .. }
                | Error::Aborted { .. }
                | Error::Corrupt { .. },
            ) => {}
            // The system's; not to be asked for without a pause.
            Err(_) => std::thread::sleep(TICK),
        }
        table.tidy();
    }
}

fn answer(mut message: Message<'_>, table: &mut Table) {
    // Dropped, it is let go of, and a caller is told that there is no answer.
    if !message.is_call() || message.len() > MOST_REQUEST_BYTES {
        return;
    }
    let mut request = Vec::new();
    if message.copy_into(&mut request).is_ok() {
        let reply = table.answer(&request, message.caller()).encode();
        // Short enough not to wait for its caller; one that is gone does not want it.
        let _ = message.reply(&reply);
    }
}
