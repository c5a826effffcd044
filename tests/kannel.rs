use crate::faulty::talkative_story;
use crate::folder::Folder;
use crate::running::{PATIENCE, Process};
use crate::sending::configured;
use nix::libc;
use nix::sched::{CloneFlags, unshare};
use shanyraq::pipeline::ledger_file;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Where Kannel listens: in a network that has nobody else.
const SMSC: u16 = 10_000;
const SENDSMS: u16 = 13_013;
const TEMPLATE: &str = "http://127.0.0.1:13013/cgi-bin/sendsms?username=card&password=secret&from={source}&to={phone}&text={text}&coding={coding}&charset=UTF-8&dlr-mask=31&dlr-url={receipt}";

/// Gives this thread, and what it starts, a network of its own: Kannel's fake centre listens on every address there is. Where that is not allowed it
/// still admits loopback addresses alone.
fn in_a_network_of_its_own() {
    if unshare(CloneFlags::CLONE_NEWNET).is_err() {
        return;
    }
    // SAFETY: plain calls of the system, with a request that is as long as they take it to be.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM, 0);
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[..2].copy_from_slice(&[b'l' as _, b'o' as _]);
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as _;
        assert_eq!(libc::ioctl(socket, libc::SIOCSIFFLAGS, &request), 0, "the loopback device");
        libc::close(socket);
    }
}

/// A text: its number, and the reference that its parts have, or where there is one part a number of its own.
type Name = (u64, usize);

/// Kannel: its bearer box, its SMS box, and once there are phones its fake centre.
struct Kannel {
    folder: std::path::PathBuf,
    _boxes: [Process; 2],
    phones: Option<Process>,
}

impl Kannel {
    fn start(folder: &Path, doors: &str) -> Kannel {
        let configuration = folder.join("kannel.conf");
        let text = format!(
            "group = core\nadmin-port = 13000\nadmin-interface = 127.0.0.1\nadmin-password = none\nsmsbox-port = 13001\nsmsbox-interface = 127.0.0.1\nbox-allow-ip = 127.0.0.1\n
             group = smsc\nsmsc = fake\nsmsc-id = FAKE\nport = {SMSC}\nconnect-allow-ip = 127.0.0.1\n
             group = smsbox\nbearerbox-host = 127.0.0.1\nsendsms-port = {SENDSMS}\nsendsms-interface = 127.0.0.1\n
             group = sendsms-user\nusername = card\npassword = secret\nmax-messages = 10\nconcatenation = true\n
             group = sms-service\nkeyword = default\ncatch-all = true\nmax-messages = 0\nget-url = \"{doors}/v1/replies?id=%I&phone=%p&text=%b\"\n"
        );
        std::fs::write(&configuration, text.lines().map(|line| format!("{}\n", line.trim_start())).collect::<String>()).unwrap();
        let begin = |program: &str| {
            let log = File::create(folder.join(format!("{program}.log"))).unwrap();
            let mut command = Command::new(format!("/usr/sbin/{program}"));
            command.arg(&configuration).stdin(Stdio::null()).stderr(log.try_clone().unwrap()).stdout(log);
            Process(command.spawn().expect("Kannel is there: tests/install"))
        };
        let bearer = begin("bearerbox");
        wait_for(13_001);
        wait_for(SMSC);
        let boxes = [bearer, begin("smsbox")];
        wait_for(SENDSMS);
        Kannel { folder: folder.to_owned(), _boxes: boxes, phones: None }
    }

    /// Phones that take what comes, once one of them has written something; what they took before is in earlier logs.
    fn phones(&mut self, name: &str, written: Option<String>) {
        self.phones = None;
        let log = File::create(self.folder.join(format!("{name}.phones"))).unwrap();
        let mut command = Command::new("/usr/lib/kannel/test/fakesmsc");
        command.args(["-H", "127.0.0.1", "-r", &SMSC.to_string(), "-i", "0.01", "-m", "1"]);
        command.arg(written.unwrap_or_else(|| "70000000000 1414 text ?".to_owned()));
        command.stdin(Stdio::null()).stderr(log.try_clone().unwrap()).stdout(log);
        self.phones = Some(Process(command.spawn().expect("Kannel's fake centre is there: tests/install")));
    }

    /// The texts that phones took, by number and reference, put together.
    fn taken(&self) -> BTreeMap<Name, String> {
        let mut parts: BTreeMap<Name, BTreeMap<u8, Vec<u8>>> = BTreeMap::new();
        let logs = std::fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path());
        for log in logs.filter(|path| path.extension().is_some_and(|extension| extension == "phones")) {
            let text = std::fs::read_to_string(log).unwrap();
            for line in text.lines().filter_map(|line| line.split_once("essage ")?.1.split_once(": <")?.1.strip_suffix('>')) {
                let words: Vec<&str> = line.split(' ').collect();
                let phone = words[1].parse().unwrap();
                let bytes = |key: &str| words.iter().position(|word| *word == key).map(|at| unescaped(words[at + 1]));
                let header = bytes("udh");
                let (reference, part) = header.map_or((256 + parts.len(), 1), |header| (usize::from(header[3]), header[5]));
                let octets = bytes("data").or(bytes("ucs-2")).unwrap_or_else(|| panic!("{line}"));
                assert!(parts.entry((phone, reference)).or_default().insert(part, octets).is_none(), "twice: {line}");
            }
        }
        let text = |octets: Vec<u8>| {
            let units: Vec<u16> = octets.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect();
            String::from_utf16(&units).unwrap()
        };
        parts.into_iter().map(|(name, parts)| (name, text(parts.into_values().flatten().collect()))).collect()
    }
}

/// Spaces are `+`, and what is no letter is `%` and two digits.
fn unescaped(word: &str) -> Vec<u8> {
    let (mut bytes, mut rest) = (Vec::new(), word.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => other,
        });
    }
    bytes
}

fn wait_for(port: u16) {
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < PATIENCE, "nobody listens at {port}");
        std::thread::yield_now();
    }
}

/// Kannel takes texts by its own address, and its phones read them as they were meant; its receipts and what its phones write come back through the doors.
#[test]
fn kannel_works_out_of_the_box() {
    in_a_network_of_its_own();
    let folder = Folder::new("kannel");
    let data = folder.0.join("data");
    // Beside a link that is never bound: it is the second route.
    let gateway = format!("gateway = {{ url = {TEMPLATE:?} }}\nbrake = {{ percent = 0, at_least = 1, days = 1 }}");
    let running = configured(&folder, "data", "smpp://card:secret@127.0.0.1:9", &gateway);
    let mut kannel = Kannel::start(&folder.0, &running.url);
    kannel.phones("first", None);
    let story = talkative_story(250, 3);
    let (first, rest) = story.split_at(story.len() / 2);
    first.iter().for_each(|(path, body)| running.tell(path, body).unwrap());
    let sql = rusqlite::Connection::open(ledger_file(&data)).unwrap();
    let count = |query: &str| sql.query_row(query, [], |row| row.get::<_, u64>(0)).unwrap();
    // What Kannel writes to phones that are switched off is lost, and it says that it was delivered: nothing is on its way then.
    let settle = |kannel: &Kannel| {
        let begun = Instant::now();
        while count("SELECT count(*) FROM outbox WHERE status IN ('waiting', 'submitted', 'taken')") > 0
            || (kannel.taken().len() as u64) < count("SELECT count(*) FROM outbox WHERE status = 'delivered'")
        {
            assert!(begun.elapsed() < PATIENCE, "receipts are lost, or texts");
            std::thread::yield_now();
        }
    };
    settle(&kannel);
    let asked: BTreeSet<u64> = kannel.taken().keys().map(|(phone, _)| *phone).collect();
    assert!(asked.len() > 10, "{asked:?}");
    // Some of them agree, where one offer was made and it is clear to which.
    let mut alone =
        sql.prepare("SELECT phone FROM offers WHERE stage IN ('sent1', 'sent2') GROUP BY phone HAVING count(*) = 1 LIMIT 8").unwrap();
    let alone: Vec<String> = alone.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert!(alone.len() > 5, "{alone:?}");
    let begun = Instant::now();
    for (agreed, phone) in (1..).zip(&alone) {
        kannel.phones(phone, Some(format!("{phone} 1414 text 1")));
        while count("SELECT count(*) FROM consents") < agreed {
            assert!(begun.elapsed() < PATIENCE, "a reply is lost");
            std::thread::yield_now();
        }
        settle(&kannel);
    }
    rest.iter().for_each(|(path, body)| running.tell(path, body).unwrap());
    settle(&kannel);
    running.stop();

    let mut query = sql.prepare("SELECT phone, text FROM outbox WHERE status = 'delivered' ORDER BY 1, 2").unwrap();
    let sent: Vec<(u64, String)> =
        query.query_map([], |row| Ok((row.get::<_, String>(0)?.parse().unwrap(), row.get(1)?))).unwrap().map(Result::unwrap).collect();
    let mut taken: Vec<(u64, String)> = kannel.taken().into_iter().map(|((phone, _), text)| (phone, text)).collect();
    taken.sort();
    assert!(sent == taken && sent.len() > 30, "{} sent, {} taken", sent.len(), taken.len());
    assert_eq!(count("SELECT count(*) FROM outbox WHERE status NOT IN ('delivered', 'suppressed')"), 0);
}
