//! Where the CPUs sit, and what lscpu prints of it, to the distance between two of them.

use std::collections::BTreeMap;

use crate::units::Cpu;

/// Where the CPUs sit. Empty where the capture does not tell: trace.dat and texts never do.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Topology {
    /// For each CPU (core, socket). Cores of different sockets may have the same number.
    pub cpus: Vec<(Cpu, u32, u32)>,
    /// For each NUMA node its CPUs.
    pub nodes: Vec<(u32, Vec<Cpu>)>,
    /// For each last-level cache the CPUs that share it.
    pub caches: Vec<Vec<Cpu>>,
}

/// How far two CPUs are from each other: the nearest that they share.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Distance {
    /// It is the same CPU.
    SameCpu,
    /// Hardware threads of one core.
    SameCore,
    /// Cores that share the last-level cache.
    SameCache,
    /// Cores of one socket, with last-level caches of their own, or none known.
    SameSocket,
    /// Sockets of one NUMA node, or with no node known.
    OtherSocket,
    /// Another NUMA node, in the same socket or not.
    OtherNode,
    /// One of the CPUs is not known, or nothing tells where it sits.
    Unknown,
}

impl Distance {
    /// All, the nearest first.
    pub const ALL: [Self; 7] = [
        Self::SameCpu,
        Self::SameCore,
        Self::SameCache,
        Self::SameSocket,
        Self::OtherSocket,
        Self::OtherNode,
        Self::Unknown,
    ];

    /// The words in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SameCpu => "same CPU",
            Self::SameCore => "same core",
            Self::SameCache => "same last-level cache",
            Self::SameSocket => "same socket",
            Self::OtherSocket => "other socket",
            Self::OtherNode => "other NUMA node",
            Self::Unknown => "unknown",
        }
    }
}

/// A topology that is not in lscpu's form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BadTopology {
    /// Which line, from 1.
    pub line: usize,
    /// What stands there, cut short.
    pub found: String,
}

impl std::fmt::Display for BadTopology {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "line {}: expected CPU,CORE,SOCKET,NODE,CACHE as `lscpu -p=CPU,CORE,SOCKET,NODE,CACHE` \
             prints it, found {:?}",
            self.line, self.found
        )
    }
}

impl std::error::Error for BadTopology {}

impl Topology {
    /// The NUMA node of a CPU.
    #[must_use]
    pub fn node(&self, cpu: Cpu) -> Option<u32> {
        self.nodes.iter().find(|(_, cpus)| cpus.contains(&cpu)).map(|(node, _)| *node)
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cpus.is_empty() && self.nodes.is_empty() && self.caches.is_empty()
    }

    /// Reads what `lscpu -p=CPU,CORE,SOCKET,NODE,CACHE` prints: a line for each CPU, numbers
    /// between commas, empty where not known, comment lines after `#`. The caches stand in one
    /// column between colons (`0:0:0:0`), or, in util-linux's older form, in columns of their
    /// own after an empty one; the last is the last-level cache (lscpu(1)).
    ///
    /// # Errors
    /// The first line that is no such line.
    pub fn read_lscpu(text: &str) -> Result<Self, BadTopology> {
        let mut topology = Self::default();
        let mut nodes: BTreeMap<u32, Vec<Cpu>> = BTreeMap::new();
        let mut caches: BTreeMap<u32, Vec<Cpu>> = BTreeMap::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let row = Row::read(line).ok_or_else(|| BadTopology {
                line: number + 1,
                found: line.chars().take(60).collect(),
            })?;
            if let (Some(core), Some(socket)) = (row.core, row.socket) {
                topology.cpus.push((row.cpu, core, socket));
            }
            if let Some(node) = row.node {
                nodes.entry(node).or_default().push(row.cpu);
            }
            if let Some(cache) = row.cache {
                caches.entry(cache).or_default().push(row.cpu);
            }
        }
        topology.nodes = nodes.into_iter().collect();
        topology.caches = caches.into_values().collect();
        Ok(topology)
    }

    /// The same as a table by CPU, for questions about many pairs.
    #[must_use]
    pub fn seats(&self) -> Seats {
        let mut seats = Seats::default();
        for (cpu, core, socket) in &self.cpus {
            if let Some(seat) = seats.at(*cpu) {
                (seat.core, seat.socket) = (Some(*core), Some(*socket));
            }
        }
        for (node, cpus) in &self.nodes {
            for cpu in cpus {
                if let Some(seat) = seats.at(*cpu) {
                    seat.node = Some(*node);
                }
            }
        }
        for (cache, cpus) in (0_u32..).zip(&self.caches) {
            for cpu in cpus {
                if let Some(seat) = seats.at(*cpu) {
                    seat.cache = Some(cache);
                }
            }
        }
        seats
    }
}

/// One line of lscpu's table.
struct Row {
    cpu: Cpu,
    core: Option<u32>,
    socket: Option<u32>,
    node: Option<u32>,
    cache: Option<u32>,
}

impl Row {
    fn read(line: &str) -> Option<Self> {
        let mut columns = line.split(',').map(str::trim);
        let mut number = || match columns.next() {
            None | Some("" | "-") => Some(None),
            Some(word) => word.parse::<u32>().ok().map(Some),
        };
        let (cpu, core, socket, node) = (number()??, number()?, number()?, number()?);
        if cpu >= MAX_CPUS {
            return None;
        }
        let cache = match columns.next_back() {
            None | Some("") => None,
            // The last level is what follows the last colon.
            Some(word) => match word.rsplit(':').next() {
                None | Some("" | "-") => None,
                Some(word) => Some(word.parse().ok()?),
            },
        };
        Some(Self { cpu: Cpu(cpu), core, socket, node, cache })
    }
}

/// Far beyond what Linux supports (CONFIG_NR_CPUS is at most 8192).
const MAX_CPUS: u32 = 1 << 16;

/// Where one CPU sits.
#[derive(Clone, Copy, Default, Debug)]
struct Seat {
    core: Option<u32>,
    socket: Option<u32>,
    node: Option<u32>,
    cache: Option<u32>,
}

/// A [`Topology`] by CPU.
#[derive(Clone, Default, Debug)]
pub struct Seats(Vec<Seat>);

impl Seats {
    fn at(&mut self, cpu: Cpu) -> Option<&mut Seat> {
        if cpu.0 >= MAX_CPUS {
            return None;
        }
        let index = cpu.0 as usize;
        if self.0.len() <= index {
            self.0.resize(index + 1, Seat::default());
        }
        self.0.get_mut(index)
    }

    /// How far two CPUs are from each other.
    #[must_use]
    pub fn distance(&self, a: Cpu, b: Cpu) -> Distance {
        if a == Cpu::NONE || b == Cpu::NONE {
            return Distance::Unknown;
        }
        if a == b {
            return Distance::SameCpu;
        }
        let (Some(a), Some(b)) = (self.0.get(a.0 as usize), self.0.get(b.0 as usize)) else {
            return Distance::Unknown;
        };
        let same = |x: Option<u32>, y: Option<u32>| x.zip(y).map(|(x, y)| x == y);
        let socket = same(a.socket, b.socket);
        if socket == Some(true) && same(a.core, b.core) == Some(true) {
            Distance::SameCore
        } else if same(a.cache, b.cache) == Some(true) {
            Distance::SameCache
        } else if same(a.node, b.node) == Some(false) {
            Distance::OtherNode
        } else {
            match socket {
                Some(true) => Distance::SameSocket,
                Some(false) => Distance::OtherSocket,
                None => Distance::Unknown,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two sockets, in each two nodes of one cache each, and two threads a core.
    const BIG: &str = "# CPU,Core,Socket,Node,L1d:L1i:L2:L3\n\
        0,0,0,0,0:0:0:0\n1,0,0,0,0:0:0:0\n2,1,0,0,1:1:1:0\n3,2,0,1,2:2:2:1\n4,3,1,2,3:3:3:2\n";

    #[test]
    fn distances() {
        let seats = Topology::read_lscpu(BIG).unwrap().seats();
        let from = |a, b| seats.distance(Cpu(a), Cpu(b));
        assert_eq!(from(0, 0), Distance::SameCpu);
        assert_eq!(from(0, 1), Distance::SameCore);
        assert_eq!(from(1, 2), Distance::SameCache);
        assert_eq!(from(0, 3), Distance::OtherNode);
        assert_eq!(from(0, 4), Distance::OtherNode);
        assert_eq!(from(0, 9), Distance::Unknown);
        assert_eq!(seats.distance(Cpu(0), Cpu::NONE), Distance::Unknown);
        let flat = Topology::read_lscpu("0,0,0,,\n1,1,0,,\n2,2,1,,\n").unwrap().seats();
        assert_eq!(flat.distance(Cpu(0), Cpu(1)), Distance::SameSocket);
        assert_eq!(flat.distance(Cpu(0), Cpu(2)), Distance::OtherSocket);
        assert_eq!(Seats::default().distance(Cpu(0), Cpu(1)), Distance::Unknown);
    }

    #[test]
    fn both_forms_of_the_cache_column() {
        let new = Topology::read_lscpu("0,0,0,0,0:0:0:0\n1,1,0,0,1:1:1:0\n").unwrap();
        let old = Topology::read_lscpu("0,0,0,0,,0,0,0,0\n1,1,0,0,,1,1,1,0\n").unwrap();
        assert_eq!(new, old);
        assert_eq!(new.caches, [[Cpu(0), Cpu(1)]]);
        assert_eq!(new.nodes, [(0, vec![Cpu(0), Cpu(1)])]);
        let bare = Topology::read_lscpu("0,0,0,-,::::\n").unwrap();
        assert_eq!((bare.cpus.len(), bare.nodes.len(), bare.caches.len()), (1, 0, 0));
    }

    #[test]
    fn other_texts_are_refused() {
        let error = Topology::read_lscpu("# x\n0,0,0,0\nhello\n").unwrap_err();
        assert_eq!((error.line, error.found.as_str()), (3, "hello"));
        assert!(Topology::read_lscpu("4294967295,0,0,0,0").is_err());
        assert!(Topology::read_lscpu("").unwrap().is_empty());
    }
}
