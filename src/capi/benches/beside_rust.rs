//! What the C face costs: the same calls and the same blocks in turns by Rust and by C, between the same two processes.
//!
//! Some hundred of one, then as many of the other, again and again. `cargo bench --manifest-path src/capi/Cargo.toml`; status 1 where C takes more than 1.1 times as long.
#![allow(missing_docs)]

use antiphon::session::{FileReader, FileWriter, Session, SessionOptions};
use antiphon::{Channel, Consumer, Publisher};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Regions that are made anew: where one happens to lie changes what it costs to hand it to and fro.
const ROUNDS: usize = 12;
/// Batches of each, with each of them.
const PAIRS: usize = 200;
const MOST: f64 = 1.1;

#[repr(C)]
struct Message {
    data: *const c_void,
    data_len: usize,
    len: usize,
    is_call: u32,
    redelivered: u32,
    reserved: [u64; 2],
}

#[repr(C)]
struct Block {
    data: *mut c_void,
    len: usize,
    offset: u64,
    again: u32,
    reserved: u32,
    token: u64,
    reserved_too: u64,
}

type Handle = *mut c_void;

/// The C library, as a program in C has it.
struct Library {
    channel_open: extern "C" fn(*const c_char, *const c_void, *mut Handle) -> c_int,
    publisher_open: extern "C" fn(Handle, *mut Handle) -> c_int,
    consumer_open: extern "C" fn(Handle, *mut Handle) -> c_int,
    call: extern "C" fn(Handle, *const c_void, usize, *mut *const c_void, *mut usize) -> c_int,
    consume: extern "C" fn(Handle, *mut Message) -> c_int,
    reply: extern "C" fn(Handle, *const c_void, usize) -> c_int,
    connect: extern "C" fn(u64, *const c_void, *mut Handle) -> c_int,
    open: extern "C" fn(Handle, *const c_char, u32, *const c_void, *mut Handle) -> c_int,
    claim: extern "C" fn(Handle, *mut Block) -> c_int,
    complete: extern "C" fn(Handle, *mut Block, usize) -> c_int,
    publisher_close: extern "C" fn(Handle) -> c_int,
    channel_close: extern "C" fn(Handle) -> c_int,
    close: extern "C" fn(Handle) -> c_int,
    text: extern "C" fn() -> *const c_char,
}

impl Library {
    #[allow(clippy::missing_transmute_annotations)] // The fields say it.
    fn load() -> Library {
        let prefix = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prefix");
        let name = if cfg!(target_vendor = "apple") { "libantiphon.0.dylib" } else { "libantiphon.so.0" };
        let path = CString::new(prefix.join("lib").join(name).to_str().unwrap()).unwrap();
        // SAFETY: a text that ends in NUL.
        let library = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
        assert!(!library.is_null(), "{path:?} cannot be loaded");
        let find = |name: &CStr| {
            // SAFETY: a library that is open, and a text that ends in NUL.
            let found = unsafe { libc::dlsym(library, name.as_ptr()) };
            assert!(!found.is_null(), "there is no {name:?}");
            found
        };
        macro_rules! function {
            ($name:literal) => {{
                let found = find($name);
                // SAFETY: of this type, as the header has it.
                unsafe { std::mem::transmute(found) }
            }};
        }
        Library {
            channel_open: function!(c"antiphon_channel_open"),
            publisher_open: function!(c"antiphon_publisher_open"),
            consumer_open: function!(c"antiphon_consumer_open"),
            call: function!(c"antiphon_call"),
            consume: function!(c"antiphon_consume"),
            reply: function!(c"antiphon_reply"),
            connect: function!(c"shmem_session_connect"),
            open: function!(c"shmem_open"),
            claim: function!(c"shmem_block_claim"),
            complete: function!(c"shmem_block_complete"),
            publisher_close: function!(c"antiphon_publisher_close"),
            channel_close: function!(c"antiphon_channel_close"),
            close: function!(c"shmem_close"),
            text: function!(c"antiphon_error_text"),
        }
    }

    fn ok(&self, error: c_int) {
        // SAFETY: what the library returns ends in NUL.
        assert_eq!(error, 0, "{:?}", unsafe { CStr::from_ptr((self.text)()) });
    }

    fn channel(&self, name: &str) -> Handle {
        let (name, mut channel) = (CString::new(name).unwrap(), std::ptr::null_mut());
        self.ok((self.channel_open)(name.as_ptr(), std::ptr::null(), &raw mut channel));
        channel
    }

    fn file(&self, session: u64, name: &CStr, access: u32) -> Handle {
        let (mut connected, mut file) = (std::ptr::null_mut(), std::ptr::null_mut());
        self.ok((self.connect)(session, std::ptr::null(), &raw mut connected));
        self.ok((self.open)(connected, name.as_ptr(), access, std::ptr::null(), &raw mut file));
        file
    }
}

#[cfg(target_os = "linux")]
fn pin(cpu: usize) {
    // SAFETY: zeros are one of its values.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: within the set.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: a set of that size, and this thread.
    unsafe { libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set) };
}

#[cfg(not(target_os = "linux"))]
fn pin(_cpu: usize) {}

/// What came of one kind of batches.
#[derive(Default)]
struct Times {
    rust: Vec<f64>,
    c: Vec<f64>,
    ratios: Vec<f64>,
}

impl Times {
    /// Does a batch by Rust, one by C, one by Rust, and so on. One by C counts where those by Rust before and after it took
    /// as long as each other, but for a fifth: else the machine was disturbed.
    fn take(&mut self, batch: usize, mut rust: impl FnMut(), mut c: impl FnMut()) {
        let time = |one: &mut dyn FnMut()| {
            let began = Instant::now();
            (0..batch).for_each(|_| one());
            began.elapsed().as_nanos() as f64 / batch as f64
        };
        let times: Vec<(f64, f64)> = (0..PAIRS).map(|_| (time(&mut rust), time(&mut c))).collect();
        for pair in times.windows(2) {
            let (before, between, after) = (pair[0].0, pair[0].1, pair[1].0);
            // What C does in more than twice the time was disturbed as well.
            if before.max(after) <= 1.2 * before.min(after) && between < 2.0 * before {
                self.rust.push((before + after) / 2.0);
                self.c.push(between);
                self.ratios.push(between / ((before + after) / 2.0));
            }
        }
    }

    /// Says what came of it. Whether the middle of what counts is good enough.
    fn judge(mut self, what: &str) -> bool {
        let at = |values: &mut Vec<f64>, part: f64| {
            values.sort_unstable_by(f64::total_cmp);
            values.get(((values.len() as f64 - 1.0) * part) as usize).copied().unwrap_or(f64::NAN)
        };
        let middle = at(&mut self.ratios, 0.5);
        println!(
            "{what:<28} Rust {:6.0} ns  C {:6.0} ns  C/Rust {middle:.3} (quarters {:.3} to {:.3}; {} of {} count)",
            at(&mut self.rust, 0.5),
            at(&mut self.c, 0.5),
            at(&mut self.ratios, 0.25),
            at(&mut self.ratios, 0.75),
            self.ratios.len(),
            PAIRS * ROUNDS,
        );
        middle <= MOST
    }
}

/// Bytes of a call and of its reply, and calls to a batch: short enough that most batches are not disturbed.
const SIZES: [(usize, usize); 3] = [(8, 500), (1024, 300), (64 << 10, 10)];
const BLOCKS: usize = 500;

/// The other process: answers, and reads, in the same batches.
fn other(names: [&str; 2], session: u64) {
    pin(1);
    let library = Library::load();
    let mut consumer: Consumer = Channel::open(names[0]).unwrap().consumer().unwrap();
    let mut handle = std::ptr::null_mut();
    library.ok((library.consumer_open)(library.channel(names[1]), &raw mut handle));
    let mut reader: FileReader = Session::connect(session).unwrap().read(b"rust").unwrap();
    let file = library.file(session, c"c", 1);
    println!("ready");
    // SAFETY: zeros are one of its values.
    let mut message: Message = unsafe { std::mem::zeroed() };
    for (size, batch) in SIZES {
        let reply = vec![1; size];
        for _ in 0..PAIRS {
            (0..batch).for_each(|_| {
                let message = consumer.consume().unwrap();
                // What C is told of a message.
                let view = message.view();
                black_box((view.as_ptr(), view.len(), message.len(), message.is_call(), message.redelivered()));
                message.reply(&reply).unwrap();
            });
            (0..batch).for_each(|_| {
                library.ok((library.consume)(handle, &raw mut message));
                library.ok((library.reply)(handle, reply.as_ptr().cast(), size));
            });
        }
    }
    // SAFETY: as above.
    let mut block: Block = unsafe { std::mem::zeroed() };
    for _ in 0..PAIRS {
        (0..BLOCKS).for_each(|_| {
            let block = reader.claim().unwrap().unwrap();
            black_box((block.view().as_ptr(), block.len(), block.offset(), block.again()));
            block.complete().unwrap();
        });
        (0..BLOCKS).for_each(|_| {
            library.ok((library.claim)(file, &raw mut block));
            library.ok((library.complete)(file, &raw mut block, 0));
        });
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if arguments.get(1).is_some_and(|word| word == "other") {
        return other([&arguments[2], &arguments[3]], arguments[4].parse().unwrap());
    }
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let prefix = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prefix");
    assert!(Command::new(home.join("install")).arg(&prefix).status().unwrap().success());
    pin(0);
    let library = Library::load();
    let mut times: [Times; SIZES.len() + 1] = Default::default();
    for round in 0..ROUNDS {
        measure(&library, round, &mut times);
    }
    let [calls @ .., blocks] = times;
    let mut is_good = true;
    for ((size, _), times) in SIZES.into_iter().zip(calls) {
        is_good &= times.judge(&format!("a call of {size} bytes"));
    }
    is_good &= blocks.judge("a block of 4 KiB handed over");
    std::process::exit(i32::from(!is_good));
}

/// One round, with another process and regions of its own.
fn measure(library: &Library, round: usize, times: &mut [Times; SIZES.len() + 1]) {
    let mut names = ["rust", "c"].map(|which| format!("bench-{}-{round}-{which}", std::process::id()));
    // Neither of the two is always the first to be made.
    let mut made: Vec<Channel> = Vec::new();
    names.rotate_left(round % 2);
    names.iter().for_each(|name| made.push(Channel::create(name).unwrap()));
    names.rotate_left(round % 2);
    made.rotate_left(round % 2);
    let mut publisher: Publisher = made[0].publisher().unwrap();
    let mut handle = std::ptr::null_mut();
    let channel = library.channel(&names[1]);
    library.ok((library.publisher_open)(channel, &raw mut handle));
    let host = SessionOptions::new().block_bytes(4096).blocks(8).host().unwrap();
    let mut writer: FileWriter = Session::connect(host.id()).unwrap().write(b"rust").unwrap();
    let file = library.file(host.id(), c"c", 2);
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["other", &names[0], &names[1], &host.id().to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut line).unwrap();

    for ((size, batch), times) in SIZES.into_iter().zip(&mut *times) {
        let (call, mut reply) = (vec![2; size], Vec::new());
        let (mut to, mut len) = (std::ptr::null(), 0);
        times.take(
            batch,
            || publisher.call_into(&call, &mut reply).unwrap(),
            || library.ok((library.call)(handle, call.as_ptr().cast(), size, &raw mut to, &raw mut len)),
        );
    }
    // SAFETY: zeros are one of its values.
    let mut block: Block = unsafe { std::mem::zeroed() };
    times[SIZES.len()].take(
        BLOCKS,
        || {
            let mut space = writer.claim().unwrap();
            black_box((space.as_mut_ptr(), space.capacity(), space.offset(), space.again()));
            space.complete(4096).unwrap();
        },
        || {
            library.ok((library.claim)(file, &raw mut block));
            library.ok((library.complete)(file, &raw mut block, 4096));
        },
    );
    writer.cancel("measured").unwrap();
    Session::connect(host.id()).unwrap().cancel(b"c", "measured").unwrap();
    assert!(child.wait().unwrap().success());
    library.ok((library.publisher_close)(handle));
    library.ok((library.channel_close)(channel));
    library.ok((library.close)(file));
}
