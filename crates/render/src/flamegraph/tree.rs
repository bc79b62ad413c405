//! Rows of frames to a tree, and to lines in the order in which they are drawn.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use agenttrace_attribute::stacks::{FrameText, StackRow};
use rustc_hash::FxHashMap;

use super::names::Names;

/// Frames narrower than this part of the whole, half a pixel of the picture's 1,200, are
/// not drawn. A sample in 5,000 is such a frame, and most of the work of drawing.
const NARROWEST: u128 = 2_400;

/// A frame, with what lies above it.
#[derive(Clone, Debug, Default)]
struct Node {
    name: usize,
    parent: usize,
    width: u64,
    /// What ends here: here, and in what is compared with.
    own: (u64, u64),
    children: Vec<usize>,
}

/// Stacks that share their outer frames.
#[derive(Debug)]
pub(super) struct Tree {
    nodes: Vec<Node>,
    ids: FxHashMap<(usize, usize), usize>,
    /// The stack that was added last, with its nodes: the next one begins as it does.
    last: Vec<(FrameText, usize)>,
    pub(super) names: Names,
}

impl Tree {
    pub(super) fn new() -> Self {
        Self {
            nodes: vec![Node::default()],
            ids: FxHashMap::default(),
            last: Vec::new(),
            names: Names::default(),
        }
    }

    /// Adds a stack with its weight, and its weight in what is compared with.
    pub(super) fn add(&mut self, frames: &[FrameText], here: u64, other: u64) {
        let same = |(last, frame): &(&(FrameText, usize), &FrameText)| {
            last.0.kind == frame.kind && Arc::ptr_eq(&last.0.text, &frame.text)
        };
        let shared = self.last.iter().zip(frames).take_while(same).count();
        self.last.truncate(shared);
        self.nodes[0].width = self.nodes[0].width.saturating_add(here);
        for (_, node) in &self.last {
            self.nodes[*node].width = self.nodes[*node].width.saturating_add(here);
        }
        let mut at = self.last.last().map_or(0, |(_, node)| *node);
        for frame in &frames[shared..] {
            let name = self.names.id(frame);
            let next = *self.ids.entry((at, name)).or_insert(self.nodes.len());
            if next == self.nodes.len() {
                self.nodes.push(Node { name, parent: at, ..Node::default() });
                self.nodes[at].children.push(next);
            }
            at = next;
            self.nodes[at].width = self.nodes[at].width.saturating_add(here);
            self.last.push((frame.clone(), at));
        }
        let own = &mut self.nodes[at].own;
        *own = (own.0.saturating_add(here), own.1.saturating_add(other));
    }

    /// Lines for inferno. A frame's own weight comes first, then what it calls, the widest
    /// first, then by name. What is too narrow to be drawn is its caller's own.
    pub(super) fn lines(mut self, differential: bool) -> Vec<String> {
        let total = u128::from(self.nodes[0].width);
        // Children have larger indexes than their parents.
        for index in (1..self.nodes.len()).rev() {
            let Node { parent, width, own, .. } = self.nodes[index];
            if u128::from(width) * NARROWEST < total {
                let outer = &mut self.nodes[parent].own;
                *outer = (outer.0.saturating_add(own.0), outer.1.saturating_add(own.1));
                self.nodes[index].own = (0, 0);
                self.nodes[index].width = 0;
            }
        }
        let mut lines = Vec::new();
        let mut path: Vec<usize> = Vec::new();
        // Each with its depth: how much of the path stays.
        let mut left = vec![(0, 0)];
        while let Some((index, depth)) = left.pop() {
            path.truncate(depth);
            if index > 0 {
                path.push(index);
            }
            let node = &self.nodes[index];
            if node.own.0 > 0 && !path.is_empty() {
                let all = self.names.all();
                let names: Vec<&str> =
                    path.iter().map(|i| all[self.nodes[*i].name].drawn.as_str()).collect();
                let other = if differential { format!("{} ", node.own.1) } else { String::new() };
                lines.push(format!("{} {other}{}", names.join(";"), node.own.0));
            }
            let mut children: Vec<usize> =
                node.children.iter().copied().filter(|c| self.nodes[*c].width > 0).collect();
            children.sort_by_key(|c| {
                let name = &self.names.all()[self.nodes[*c].name];
                (Reverse(self.nodes[*c].width), name.drawn.as_str())
            });
            let depth = path.len();
            left.extend(children.into_iter().rev().map(|child| (child, depth)));
        }
        lines
    }
}

/// Steps with a frame each. A session of more would be slivers that tell nothing.
const STEPS: usize = 40;

/// Merges the shorter ones of many steps, tool by tool; widths stay. Each row begins with
/// its tool and its step.
pub(super) fn gather(rows: &[StackRow]) -> Vec<StackRow> {
    let mut steps: BTreeMap<[Arc<str>; 2], u64> = BTreeMap::new();
    for row in rows {
        if let [tool, step, ..] = &row.frames[..] {
            let key = [Arc::clone(&tool.text), Arc::clone(&step.text)];
            let sum = steps.entry(key).or_default();
            *sum = sum.saturating_add(row.weight);
        }
    }
    let mut rows = rows.to_vec();
    if steps.len() <= STEPS {
        return rows;
    }
    let mut by_width: Vec<_> = steps.into_iter().collect();
    by_width.sort_by_key(|(_, weight)| Reverse(*weight));
    let mut others: BTreeMap<Arc<str>, BTreeSet<Arc<str>>> = BTreeMap::new();
    for ([tool, step], _) in by_width.drain(STEPS / 2..) {
        others.entry(tool).or_default().insert(step);
    }
    for row in &mut rows {
        if let [tool, step, ..] = &mut row.frames[..]
            && let Some(others) = others.get(&tool.text)
            && others.contains(&step.text)
        {
            let s = if others.len() == 1 { "" } else { "s" };
            step.text = format!("{} shorter step{s}", others.len()).into();
        }
    }
    rows
}
