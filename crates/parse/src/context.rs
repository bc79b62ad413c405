//! The files of a context folder (docs/CONTEXT.md) to what they say of the traced machine.
//!
//! Each is a text whose first line is `# agenttrace.context/1 NAME`. Names of files, devices
//! and cgroups are escaped as in /proc/self/mountinfo: a backslash and three octal digits.

use std::borrow::Cow;

use crate::units::{Dev, FileId};

/// What every file of a context begins with.
pub const CONTEXT_FORM: &str = "agenttrace.context/1";

/// A file of a context that cannot be used, as a sentence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContextError(pub String);

impl std::fmt::Display for ContextError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ContextError {}

/// The machine, and the boot, that a context was made on. What it may not read is `None`.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Machine {
    /// Name of the machine.
    pub hostname: Option<String>,
    /// Kernel release.
    pub release: Option<String>,
    /// Architecture as `uname -m` tells.
    pub arch: Option<String>,
    /// `/proc/sys/kernel/random/boot_id`.
    pub boot_id: Option<String>,
    /// When it started, in seconds since 1970, UTC.
    pub boot_s: Option<u64>,
    /// CPU flags of /proc/cpuinfo (`Features` on ARM), sorted.
    pub cpu_flags: Option<Vec<String>>,
}

impl Machine {
    /// Whether its CPUs have a flag; `None` where flags are not told.
    #[must_use]
    pub fn has_flag(&self, flag: &str) -> Option<bool> {
        let flags = self.cpu_flags.as_ref()?;
        Some(flags.binary_search_by(|f| f.as_str().cmp(flag)).is_ok())
    }
}

/// A block device, or a partition of one.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct BlockDevice {
    /// Its number.
    pub dev: Dev,
    /// Its name: `vda1`.
    pub name: String,
    /// Settings of its queue by their names in /sys/block/NAME/queue: `scheduler`,
    /// `rotational`, `nr_requests`; a partition has its disk's.
    pub settings: Vec<(String, String)>,
}

/// A mounted filesystem, of /proc/self/mountinfo.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Mount {
    /// Its superblock's number, as tracepoints name it.
    pub dev: Dev,
    /// Where it is mounted.
    pub point: String,
    /// Its type: `ext4`.
    pub fstype: String,
    /// What is mounted: `/dev/vda1`.
    pub source: String,
    /// Options of the superblock.
    pub options: String,
}

/// A number that a cgroup counts.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct CgroupCount {
    /// Its path below the hierarchy.
    pub cgroup: String,
    /// File and key: `cpu.stat nr_throttled`.
    pub key: String,
    /// The value, since the cgroup was made.
    pub value: u64,
}

/// Writes a name so that it is one word of printable ASCII.
#[must_use]
pub fn escape_name(name: &[u8]) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name {
        if (0x21..=0x7e).contains(byte) && *byte != b'\\' {
            out.push(char::from(*byte));
        } else {
            out.push_str(&format!("\\{byte:03o}"));
        }
    }
    out
}

/// The name that [`escape_name`], or the kernel in mountinfo, wrote.
#[must_use]
pub fn unescape_name(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'\\') {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        let octal = |d: &u8| (b'0'..=b'7').contains(d).then(|| u32::from(*d - b'0'));
        let value = match (first, after) {
            (b'\\', [a, b, c, ..]) => octal(a)
                .zip(octal(b))
                .zip(octal(c))
                .and_then(|((a, b), c)| u8::try_from(a * 64 + b * 8 + c).ok()),
            _ => None,
        };
        match value {
            Some(byte) => {
                out.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = after;
            }
        }
    }
    Cow::Owned(out)
}

fn name(text: &[u8]) -> String {
    String::from_utf8_lossy(&unescape_name(text)).into_owned()
}

/// The text after the first line, which must name this file's form.
fn body<'a>(text: &'a [u8], file: &str) -> Result<&'a [u8], ContextError> {
    let (first, rest) = split_line(text);
    let expected = format!("# {CONTEXT_FORM} {file}");
    if first != expected.as_bytes() {
        return Err(ContextError(format!(
            "{file}: line 1 is not `{expected}`: no file of `agenttrace context`, or of a later form"
        )));
    }
    Ok(rest)
}

fn split_line(text: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b'\n', text).unwrap_or(text.len());
    let (line, rest) = text.split_at_checked(end).unwrap_or((text, &[]));
    (line, rest.get(1..).unwrap_or_default())
}

/// Lines that are neither empty nor remarks.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let (line, after) = split_line(rest);
            rest = after;
            if !line.is_empty() && line.first() != Some(&b'#') {
                return Some(line);
            }
        }
        None
    })
}

fn word(line: &[u8]) -> (&[u8], &[u8]) {
    let end = memchr::memchr(b' ', line).unwrap_or(line.len());
    let (word, rest) = line.split_at_checked(end).unwrap_or((line, &[]));
    (word, rest.get(1..).unwrap_or_default())
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn dev(text: &[u8]) -> Option<Dev> {
    let (major, minor) = std::str::from_utf8(text).ok()?.split_once(':')?;
    let (major, minor) = (major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?);
    (major < 1 << 12 && minor < 1 << 20).then(|| Dev::new(major, minor))
}

/// Reads `machine`.
///
/// # Errors
/// The first line is another.
pub fn read_machine(text: &[u8]) -> Result<Machine, ContextError> {
    let mut machine = Machine::default();
    for line in lines(body(text, "machine")?) {
        let (key, value) = word(line);
        match key {
            b"hostname" => machine.hostname = Some(name(value)),
            b"release" => machine.release = Some(name(value)),
            b"arch" => machine.arch = Some(name(value)),
            b"boot_id" => machine.boot_id = Some(name(value)),
            b"boot_s" => machine.boot_s = number(value),
            b"cpu_flags" => {
                let text = String::from_utf8_lossy(value);
                let mut flags: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
                flags.sort_unstable();
                flags.dedup();
                machine.cpu_flags = Some(flags);
            }
            _ => {}
        }
    }
    Ok(machine)
}

/// Reads `devices`; lines of another form are left out.
///
/// # Errors
/// The first line is another.
pub fn read_devices(text: &[u8]) -> Result<Vec<BlockDevice>, ContextError> {
    let mut devices = Vec::new();
    for line in lines(body(text, "devices")?) {
        let mut words = line.split(|b| *b == b' ').filter(|w| !w.is_empty());
        let (Some(number), Some(called)) = (words.next().and_then(dev), words.next()) else {
            continue;
        };
        let pair = |w: &[u8]| {
            let at = memchr::memchr(b'=', w)?;
            Some((name(w.get(..at)?), name(w.get(at.saturating_add(1)..)?)))
        };
        let settings = words.filter_map(pair).collect();
        devices.push(BlockDevice { dev: number, name: name(called), settings });
    }
    Ok(devices)
}

/// Reads `mounts`, lines of /proc/self/mountinfo (proc_pid_mountinfo(5)).
///
/// # Errors
/// The first line is another.
pub fn read_mounts(text: &[u8]) -> Result<Vec<Mount>, ContextError> {
    Ok(mountinfo(body(text, "mounts")?))
}

/// Reads the text of a /proc/PID/mountinfo.
#[must_use]
pub fn mountinfo(text: &[u8]) -> Vec<Mount> {
    lines(text).filter_map(mount).collect()
}

fn mount(line: &[u8]) -> Option<Mount> {
    let mut words = line.split(|b| *b == b' ');
    let number = dev(words.nth(2)?)?;
    let point = name(words.nth(1)?);
    // Optional fields end with a dash.
    words.find(|w| *w == b"-")?;
    let fstype = name(words.next()?);
    let source = name(words.next()?);
    let options = name(words.next().unwrap_or_default());
    Some(Mount { dev: number, point, fstype, source, options })
}

/// Reads `cgroups`.
///
/// # Errors
/// The first line is another.
pub fn read_cgroups(text: &[u8]) -> Result<Vec<CgroupCount>, ContextError> {
    let mut counts = Vec::new();
    for line in lines(body(text, "cgroups")?) {
        let (cgroup, rest) = word(line);
        let Some(at) = memchr::memrchr(b' ', rest) else { continue };
        let value = rest.get(at.saturating_add(1)..).and_then(number);
        if let (Some(key), Some(value)) = (rest.get(..at), value) {
            counts.push(CgroupCount { cgroup: name(cgroup), key: name(key), value });
        }
    }
    Ok(counts)
}

/// Goes through `files`, which may hold millions of lines, and gives each file's path to
/// `found` if it is `wanted`. Of several names of a file the first in the text counts for
/// the caller.
///
/// # Errors
/// The first line is another.
pub fn read_files(
    text: &[u8],
    wanted: &dyn Fn(FileId) -> bool,
    found: &mut dyn FnMut(FileId, String),
) -> Result<u64, ContextError> {
    let mut folder: Option<(Dev, &[u8])> = None;
    let mut count = 0_u64;
    for line in lines(body(text, "files")?) {
        let (kind, rest) = word(line);
        match kind {
            b"d" => {
                let (number, path) = word(rest);
                folder = dev(number).map(|number| (number, path));
            }
            b"f" => {
                let (ino, file) = word(rest);
                let (Some((dev, path)), Some(ino)) = (folder, number(ino)) else { continue };
                count = count.saturating_add(1);
                let id = FileId { dev, ino };
                if wanted(id) {
                    let slash = if path.ends_with(b"/") { "" } else { "/" };
                    found(id, format!("{}{slash}{}", name(path), name(file)));
                }
            }
            b"p" => {
                let (on, rest) = word(rest);
                let (ino, path) = word(rest);
                let (Some(dev), Some(ino)) = (dev(on), number(ino)) else { continue };
                count = count.saturating_add(1);
                let id = FileId { dev, ino };
                if wanted(id) {
                    found(id, name(path));
                }
            }
            _ => {}
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_whatever_they_hold() {
        for name in
            [&b"plain.txt"[..], b"a b\nc\td\\e", b"\x1b[31m\xff\xfe", "é\u{202e}".as_bytes()]
        {
            let text = escape_name(name);
            assert!(text.bytes().all(|b| (0x21..=0x7e).contains(&b)), "{text}");
            assert_eq!(&*unescape_name(text.as_bytes()), name);
        }
        // What no writer wrote stays as it is.
        assert_eq!(&*unescape_name(b"a\\9x\\40"), b"a\\9x\\40");
        assert_eq!(&*unescape_name(b"\\777"), b"\\777");
    }

    #[test]
    fn files_by_folder_and_by_path() {
        let text = b"# agenttrace.context/1 files\nd 254:1 /srv/a\\040b\nf 12 x.db\nf 13 y\\012z\n\
            junk\nf no 1\np 0:40 7 /usr/lib/c.so\nd bad /\nf 12 lost\nd 254:1 /\nf 2 top\n";
        let mut seen = Vec::new();
        let wanted = |id: FileId| id.ino != 13 || id.dev != Dev::new(254, 1);
        let count = read_files(text, &wanted, &mut |id, path| seen.push((id.to_string(), path)));
        assert_eq!(count, Ok(4));
        let expected = [
            ("254:1 ino 12", "/srv/a b/x.db"),
            ("0:40 ino 7", "/usr/lib/c.so"),
            ("254:1 ino 2", "/top"),
        ];
        assert_eq!(seen, expected.map(|(id, path)| (id.to_owned(), path.to_owned())));
        let other = read_files(b"# agenttrace.context/2 files\n", &wanted, &mut |_, _| {});
        assert!(other.is_err_and(|e| e.to_string().contains("line 1")));
    }

    #[test]
    fn machines_devices_mounts_and_cgroups() {
        let machine = read_machine(
            b"# agenttrace.context/1 machine\nhostname box\nrelease 6.18.0\ncpu_flags fpu pcid aes\n\
              boot_s 17\n",
        );
        let machine = machine.unwrap_or_default();
        assert_eq!((machine.hostname.as_deref(), machine.boot_id), (Some("box"), None));
        assert_eq!(machine.boot_s, Some(17));
        let flags = Machine { cpu_flags: machine.cpu_flags, ..Machine::default() };
        assert_eq!((flags.has_flag("pcid"), flags.has_flag("invpcid")), (Some(true), Some(false)));
        assert_eq!(Machine::default().has_flag("pcid"), None);

        let devices = read_devices(
            b"# agenttrace.context/1 devices\n254:1 vda1 scheduler=none rotational=1\nx y\n4096:0 big\n",
        )
        .unwrap_or_default();
        assert_eq!(devices.len(), 1);
        assert_eq!(devices[0].settings[1], ("rotational".to_owned(), "1".to_owned()));

        let mounts = mountinfo(
            b"29 1 254:1 / /a\\040b rw,relatime shared:1 master:2 - ext4 /dev/vda1 rw,data=ordered\nshort 1\n",
        );
        assert_eq!((mounts.len(), mounts[0].point.as_str()), (1, "/a b"));
        assert_eq!((mounts[0].fstype.as_str(), mounts[0].dev), ("ext4", Dev::new(254, 1)));

        let counts =
            read_cgroups(b"# agenttrace.context/1 cgroups\n/agent cpu.stat nr_throttled 12\n/x\n");
        let counts = counts.unwrap_or_default();
        assert_eq!((counts.len(), counts[0].value), (1, 12));
        assert_eq!(counts[0].key, "cpu.stat nr_throttled");
    }

    #[test]
    fn no_text_is_too_bad_to_read() {
        let read = |text: &[u8]| {
            let _ = read_machine(text);
            let _ = read_devices(text);
            let _ = read_cgroups(text);
            let _ = read_mounts(text);
            let _ = read_files(text, &|_| true, &mut |_, _| {});
        };
        for (file, line) in [
            ("machine", "hostname a\\040b\ncpu_flags x y\nboot_s 99999999999999999999\n"),
            ("devices", "254:1 vda a=b =c d=\n4294967295:1 x\n: y\n"),
            ("cgroups", "/a cpu.stat x 1\n/ 9\n \n"),
            ("mounts", "1 2 3:4 / /p rw - t s o\n1 2 3:4 / /p rw -\n- - - - -\n"),
            ("files", "d 1:2 /\nf 3 x\np 1:2 4 /y\nf\np\nd\n\\777\n"),
        ] {
            let text = format!("# {CONTEXT_FORM} {file}\n{line}");
            for end in 0..=text.len() {
                read(text.get(..end).unwrap_or_default().as_bytes());
            }
            for at in 0..text.len() {
                for byte in [0, b'\n', b' ', b'\\', b':', 0xff] {
                    let mut changed = text.clone().into_bytes();
                    if let Some(slot) = changed.get_mut(at) {
                        *slot = byte;
                    }
                    read(&changed);
                }
            }
        }
    }
}
