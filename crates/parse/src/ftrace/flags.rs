//! The letters of the context column to `common_flags`.

use crate::events::Context;

const IRQS_OFF: u8 = 0x01;
const RESCHED_LAZY: u8 = 0x02;
const RESCHED: u8 = 0x04;
const HARDIRQ: u8 = 0x08;
const SOFTIRQ: u8 = 0x10;
const PREEMPT_RESCHED: u8 = 0x20;
const NMI: u8 = 0x40;
const BH_OFF: u8 = 0x80;

/// Reads irqs-off, need-resched and hardirq/softirq (`trace_print_lat_fmt`,
/// kernel/trace/trace_output.c; `b` and `D` since Linux 5.18, the lazy letters since
/// 6.13). The depths that follow are not part of the flags. Unknown without the column.
#[inline]
pub(super) fn context(column: Option<&[u8]>) -> Context {
    let Some([irqs, resched, interrupt, ..]) = column else { return Context::UNKNOWN };
    let irqs = match irqs {
        b'd' => IRQS_OFF,
        b'b' => BH_OFF,
        b'D' => IRQS_OFF | BH_OFF,
        _ => 0,
    };
    let resched = match resched {
        b'N' => RESCHED | PREEMPT_RESCHED,
        b'n' => RESCHED,
        b'p' => PREEMPT_RESCHED,
        b'B' => RESCHED | RESCHED_LAZY | PREEMPT_RESCHED,
        b'L' => RESCHED_LAZY | PREEMPT_RESCHED,
        b'b' => RESCHED | RESCHED_LAZY,
        b'l' => RESCHED_LAZY,
        _ => 0,
    };
    let interrupt = match interrupt {
        b'h' => HARDIRQ,
        b's' => SOFTIRQ,
        b'H' => HARDIRQ | SOFTIRQ,
        b'z' => NMI,
        b'Z' => NMI | HARDIRQ,
        _ => 0,
    };
    Context::from_flags(irqs | resched | interrupt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_of_every_version() {
        for (letters, flags) in [
            ("....", 0),
            (".....", 0),
            ("d..2.", 0x01),
            ("dNh2.", 0x2d),
            ("bnH1.", 0x9c),
            ("DpZ..", 0xe9),
            (".Bs..", 0x36),
            (".Lz..", 0x62),
            (".bs1.", 0x16),
            ("Xl...", 0x02),
        ] {
            assert_eq!(context(Some(letters.as_bytes())), Context::from_flags(flags), "{letters}");
        }
        assert_eq!(context(None), Context::UNKNOWN);
    }
}
