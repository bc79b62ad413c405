//! One frame's registers and rules to its caller's registers.

use agenttrace_parse::stack::UserMemory;
use gimli::{EvaluationResult, Expression, Location, Register, Value};

use super::Arch;
use super::cfi::{Bytes, Cfa, Row, Rule};

/// Operations that are run of one expression at most: real ones have ten.
const OPERATIONS: u32 = 256;

/// The registers that unwinding carries from frame to frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Regs {
    pub(super) ip: u64,
    pub(super) sp: u64,
    pub(super) fp: u64,
    /// The link register of arm64.
    pub(super) lr: u64,
    /// The base pointer; `None` where it was not followed.
    pub(super) base: Option<u64>,
}

/// A frame of which the caller is to be found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame<'s, 'a> {
    pub(super) arch: Arch,
    pub(super) regs: Regs,
    /// All registers that were recorded, in the innermost frame.
    pub(super) recorded: Option<&'s UserMemory<'a>>,
}

impl Frame<'_, '_> {
    /// A register's value, by its number in DWARF.
    fn reg(&self, register: Register) -> Option<u64> {
        if register == self.arch.stack_pointer() {
            Some(self.regs.sp)
        } else if register == self.arch.frame_pointer() {
            Some(self.regs.fp)
        } else if register == self.arch.return_address() {
            Some(if self.arch == Arch::X86_64 { self.regs.ip } else { self.regs.lr })
        } else if register == self.arch.base_pointer() {
            self.regs.base
        } else {
            self.recorded?.reg(self.arch.perf_number(register)?)
        }
    }

    /// Follows the rules. `None` where they cannot be followed; whether memory was asked
    /// for that is not there, `read` knows. A return address of 0: there is no caller.
    pub(super) fn caller(
        &self,
        row: &Row<'_>,
        read: &mut dyn FnMut(u64) -> Result<u64, ()>,
    ) -> Option<Regs> {
        let cfa = match row.cfa {
            Cfa::Register(register, offset) => self.reg(register)?.checked_add_signed(offset)?,
            Cfa::Expression(bytes) => self.evaluate(bytes, row, None, read)?,
        };
        let mut value = |rule: Rule<'_>, now: u64| match rule {
            Rule::Unknown | Rule::Same => Some(now),
            Rule::Undefined => Some(0),
            Rule::At(offset) => read(cfa.checked_add_signed(offset)?).ok(),
            Rule::Value(offset) => cfa.checked_add_signed(offset),
            Rule::Register(register) => self.reg(register),
            Rule::AtExpression(bytes) => {
                let at = self.evaluate(bytes, row, Some(cfa), read)?;
                read(at).ok()
            }
            Rule::ValueExpression(bytes) => self.evaluate(bytes, row, Some(cfa), read),
            Rule::Other => None,
        };
        let sp = value(row.sp, cfa)?;
        // Not needed until a frame's rules lean on it.
        let fp = value(row.fp, self.regs.fp).unwrap_or(self.regs.fp);
        let base = self.regs.base.and_then(|base| value(row.base, base));
        match self.arch {
            Arch::X86_64 => {
                // A table that does not tell ends the stack, as framehop has it.
                let told = if row.ra == Rule::Unknown { Rule::Undefined } else { row.ra };
                let ip = value(told, self.regs.ip)?;
                Some(Regs { ip, sp, fp, lr: 0, base })
            }
            Arch::Aarch64 => {
                let lr = super::strip(value(row.ra, self.regs.lr)?);
                Some(Regs { ip: lr, sp, fp, lr, base })
            }
        }
    }

    /// Runs an expression. Memory is the recorded stack alone.
    fn evaluate(
        &self,
        bytes: &[u8],
        row: &Row<'_>,
        first: Option<u64>,
        read: &mut dyn FnMut(u64) -> Result<u64, ()>,
    ) -> Option<u64> {
        let expression = Expression(Bytes::new(bytes, gimli::LittleEndian));
        let mut run = expression.evaluation(row.encoding);
        // Without it, a jump backwards would never end.
        run.set_max_iterations(OPERATIONS);
        if let Some(first) = first {
            run.set_initial_value(first);
        }
        let mut state = run.evaluate().ok()?;
        loop {
            state = match state {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresRegister { register, .. } => {
                    run.resume_with_register(Value::Generic(self.reg(register)?)).ok()?
                }
                EvaluationResult::RequiresMemory { address, size: 8, .. } => {
                    run.resume_with_memory(Value::Generic(read(address).ok()?)).ok()?
                }
                // Asked for by no table of unwind rules.
                EvaluationResult::RequiresMemory { .. }
                | EvaluationResult::RequiresFrameBase
                | EvaluationResult::RequiresTls(_)
                | EvaluationResult::RequiresCallFrameCfa
                | EvaluationResult::RequiresAtLocation(_)
                | EvaluationResult::RequiresEntryValue(_)
                | EvaluationResult::RequiresParameterRef(_)
                | EvaluationResult::RequiresRelocatedAddress(_)
                | EvaluationResult::RequiresIndexedAddress { .. }
                | EvaluationResult::RequiresBaseType(_) => return None,
            };
        }
        match run.as_result().last()?.location {
            Location::Address { address } => Some(address),
            Location::Value { value } => value.to_u64(u64::MAX).ok(),
            Location::Empty
            | Location::Register { .. }
            | Location::Bytes { .. }
            | Location::ImplicitPointer { .. } => None,
        }
    }
}

impl Row<'_> {
    /// Whether the base pointer is needed to find the caller.
    pub(super) fn needs_base(&self, arch: Arch) -> bool {
        matches!(self.cfa, Cfa::Register(register, _) if register == arch.base_pointer())
    }

    /// Whether framehop has a rule of its own for this row: then it computes the caller,
    /// fast and the same each time. Else it would evaluate expressions without a bound on
    /// their jumps; compute `cfa - 8` and `offset + offset` without a check; and, once it
    /// has failed for one sample's registers, keep the frame pointer as the rule of that
    /// address for those that follow (`with_cache` in unwinder.rs of framehop 0.16).
    pub(super) fn is_plain(&self, arch: Arch) -> bool {
        let Cfa::Register(register, offset) = self.cfa else { return false };
        if self.signal || self.sp != Rule::Unknown {
            return false;
        }
        let fits = |unit: i64| u16::try_from(offset.wrapping_div(unit)).is_ok() && offset >= 0;
        // At most so far from the stack pointer: fits 16 bits in units of 8 bytes.
        let near = |rule: Rule<'_>| match rule {
            Rule::Unknown | Rule::Undefined | Rule::Same => true,
            Rule::At(at) => {
                offset.checked_add(at).is_some_and(|sum| i16::try_from(sum / 8).is_ok())
            }
            Rule::Value(_)
            | Rule::Register(_)
            | Rule::AtExpression(_)
            | Rule::ValueExpression(_)
            | Rule::Other => false,
        };
        let saved = |rule: Rule<'_>| matches!(rule, Rule::At(_)) && near(rule);
        let pointer = register == arch.frame_pointer();
        match arch {
            _ if !pointer && register != arch.stack_pointer() => false,
            Arch::X86_64 => match self.ra {
                Rule::Unknown | Rule::Undefined => true,
                Rule::At(-8) if pointer => offset == 16 && self.fp == Rule::At(-16),
                Rule::At(-8) => fits(8) && near(self.fp),
                Rule::At(_)
                | Rule::Same
                | Rule::Value(_)
                | Rule::Register(_)
                | Rule::AtExpression(_)
                | Rule::ValueExpression(_)
                | Rule::Other => false,
            },
            Arch::Aarch64 if pointer => fits(8) && saved(self.ra) && saved(self.fp),
            // Not where the frame pointer is saved and the return address is not.
            Arch::Aarch64 => {
                let both = saved(self.ra) || !saved(self.fp);
                fits(16) && near(self.ra) && near(self.fp) && both
            }
        }
    }
}
