//! framehop for both machines.

use framehop::aarch64::{CacheAarch64, PtrAuthMask, UnwindRegsAarch64, UnwinderAarch64};
use framehop::x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64};
use framehop::{Error, ExplicitModuleSectionInfo, FrameAddress, Module, Unwinder};

use super::step::Regs;
use super::{ADDRESS_BITS, Arch};
use crate::stacks::elf::ElfFile;

/// framehop with at most one file.
pub(super) enum Engine<'f> {
    X86_64(UnwinderX86_64<&'f [u8]>),
    Aarch64(UnwinderAarch64<&'f [u8]>),
}

/// The rules that framehop has found before; of one thread, for all files.
pub(super) enum Cache {
    X86_64(CacheX86_64),
    Aarch64(CacheAarch64),
}

impl Cache {
    pub(super) fn new(arch: Arch) -> Self {
        match arch {
            Arch::X86_64 => Self::X86_64(CacheX86_64::new()),
            Arch::Aarch64 => Self::Aarch64(CacheAarch64::new()),
        }
    }
}

impl<'f> Engine<'f> {
    /// Without a file: it follows frame pointers.
    pub(super) fn empty(arch: Arch) -> Self {
        match arch {
            Arch::X86_64 => Self::X86_64(UnwinderX86_64::new()),
            Arch::Aarch64 => Self::Aarch64(UnwinderAarch64::new()),
        }
    }

    /// With a file, whose first address it sees at `base`.
    pub(super) fn new(arch: Arch, elf: &ElfFile<'f>, base: u64) -> Self {
        let range = |section: Option<crate::stacks::elf::Section<'_>>| {
            section.map(|s| s.address..s.address.saturating_add(s.data.len() as u64))
        };
        let info = ExplicitModuleSectionInfo {
            base_svma: elf.base(),
            text_svma: elf.text.map(|start| start..start),
            got_svma: elf.got.map(|start| start..start),
            eh_frame_svma: range(elf.eh_frame),
            eh_frame: elf.eh_frame.map(|s| s.data),
            eh_frame_hdr_svma: range(elf.eh_frame_hdr),
            eh_frame_hdr: elf.eh_frame_hdr.map(|s| s.data),
            ..Default::default()
        };
        let end = base.saturating_add(1 << 32);
        let module = Module::new(String::new(), base..end, base, info);
        let mut engine = Self::empty(arch);
        match &mut engine {
            Self::X86_64(unwinder) => unwinder.add_module(module),
            Self::Aarch64(unwinder) => unwinder.add_module(module),
        }
        engine
    }

    /// The caller's registers; `Ok(None)` where there is no caller. `address` is where
    /// the engine sees the frame's code.
    pub(super) fn caller(
        &self,
        cache: &mut Cache,
        address: FrameAddress,
        regs: Regs,
        read: &mut dyn FnMut(u64) -> Result<u64, ()>,
    ) -> Result<Option<Regs>, Error> {
        let mut read = |at| read(at);
        match (self, cache) {
            (Self::X86_64(unwinder), Cache::X86_64(cache)) => {
                let mut to = UnwindRegsX86_64::new(regs.ip, regs.sp, regs.fp);
                let ip = unwinder.unwind_frame(address, &mut to, cache, &mut read)?;
                Ok(ip.map(|ip| Regs { ip, sp: to.sp(), fp: to.bp(), lr: 0, base: None }))
            }
            (Self::Aarch64(unwinder), Cache::Aarch64(cache)) => {
                let mask = PtrAuthMask(ADDRESS_BITS);
                let mut to =
                    UnwindRegsAarch64::new_with_ptr_auth_mask(mask, regs.lr, regs.sp, regs.fp);
                let ip = unwinder.unwind_frame(address, &mut to, cache, &mut read)?;
                Ok(ip.map(|ip| Regs { ip, sp: to.sp(), fp: to.fp(), lr: to.lr(), base: None }))
            }
            // One machine each.
            (Self::X86_64(_), Cache::Aarch64(_)) | (Self::Aarch64(_), Cache::X86_64(_)) => Ok(None),
        }
    }
}
