//! Frames and chains that occur again and again, kept once.

use rustc_hash::FxHashMap;

use super::frames::{Chain, ChainId, Frame, FrameId};

/// Frames, chains and names, each once, in the order of their first occurrence.
#[derive(Debug, Default)]
pub(crate) struct Merge {
    pub(crate) frames: Vec<Frame>,
    pub(crate) chains: Vec<Chain>,
    pub(crate) names: Vec<String>,
    by_frame: FxHashMap<Frame, FrameId>,
    by_chain: FxHashMap<Chain, ChainId>,
    by_name: FxHashMap<String, u32>,
    /// The last chain, the outermost frame first: the next one mostly begins as it does.
    last: Vec<Chain>,
    last_ids: Vec<ChainId>,
}

impl Merge {
    /// The id of a frame. `None` where there are more than ids.
    pub(crate) fn frame(&mut self, frame: Frame) -> Option<FrameId> {
        if let Some(id) = self.by_frame.get(&frame) {
            return Some(*id);
        }
        let id = FrameId(u32::try_from(self.frames.len()).ok()?);
        self.frames.push(frame);
        self.by_frame.insert(frame, id);
        Some(id)
    }

    /// The id of a name.
    pub(crate) fn name(&mut self, name: &[u8]) -> Option<u32> {
        let name = String::from_utf8_lossy(name);
        if let Some(id) = self.by_name.get(name.as_ref()) {
            return Some(*id);
        }
        let id = u32::try_from(self.names.len()).ok()?;
        self.names.push(name.clone().into_owned());
        self.by_name.insert(name.into_owned(), id);
        Some(id)
    }

    /// The id of a chain whose frames are given the innermost first: of its innermost frame.
    pub(crate) fn chain(
        &mut self,
        frames: impl DoubleEndedIterator<Item = FrameId>,
    ) -> Option<ChainId> {
        let mut parent = None;
        for (depth, frame) in frames.rev().enumerate() {
            let chain = Chain { parent, frame };
            if self.last.get(depth) == Some(&chain) {
                parent = self.last_ids.get(depth).copied();
                continue;
            }
            self.last.truncate(depth);
            self.last_ids.truncate(depth);
            let id = match self.by_chain.get(&chain) {
                Some(id) => *id,
                None => {
                    let id = ChainId(u32::try_from(self.chains.len()).ok()?);
                    self.chains.push(chain);
                    self.by_chain.insert(chain, id);
                    id
                }
            };
            self.last.push(chain);
            self.last_ids.push(id);
            parent = Some(id);
        }
        parent
    }
}
