//! What may differ between two files of a person, which are the same but for a record or two.
//!
//! Of most records that come it is known only when others are looked at that they change nothing: a pension is paid once more, and whether
//! any was paid lately is the same.

use super::bits::Bits;
use super::graph::FoldKind;
use super::person::Pass;
use super::versions::Versions;

impl<'a> Pass<'a> {
    /// Says which folds may give something else of one of two files than of the other, in which only records of these registers differ:
    /// those over a record that is in one of them alone, unless it is not seen or a filter turns it away (one that needs nodes
    /// which are not blank is not asked). When it may let the record pass lowers the horizon. The second file was taken up before.
    pub(super) fn touch(&mut self, registers: &[u16], versions: Versions<'a>, folds: &mut Bits) {
        let sequence = &self.policy.programs.sequence;
        folds.clear();
        self.room.apart.clear();
        // What the other file shows beside are records that differ.
        let is_blank = |pass: &Self, needs: &Bits| {
            let by_others = || registers.iter().any(|register| needs.meets(&sequence.shown_by[usize::from(*register)]));
            needs.is_empty() || !needs.meets(&pass.room.shown) && !by_others()
        };
        let apart = (0..2).flat_map(|side| versions.only_in(side).map(move |record| (side, record)));
        for (side, record) in apart.filter(|(_, record)| registers.contains(&record.register)) {
            self.file = versions.files[side];
            if !self.is_relied_on(record.register) || !self.effective(&record) || !self.unpack(&record) {
                continue;
            }
            self.room.apart.push((side, record));
            let doubted = self.environment.doubt(record.register) != 0;
            let groups = sequence.stages.iter().flat_map(|stage| &stage.groups[usize::from(record.register)]);
            for group in groups.filter(|group| !doubted || group.holds()) {
                let passes = match &group.filter_needs {
                    Some(needs) if is_blank(self, needs) => {
                        self.make_blank(needs);
                        self.passes(group) != 0
                    }
                    _ => true,
                };
                if passes {
                    let items = group.items.iter().filter(|item| !doubted || item.kind == FoldKind::Held);
                    items.for_each(|item| folds.insert(item.node));
                    self.expires(&record);
                }
            }
        }
        self.wake_when_expired();
        self.file = versions.files[1];
    }

    /// Says which nodes may have other values for one of two files than for the other, where these folds may: those that rest on one that is
    /// not the same, since it only asks whether there is a record of some kind, and both files have one.
    pub(super) fn narrow(&mut self, files: [&'a [u8]; 2], folds: &Bits, nodes: &mut Bits) {
        let sequence = &self.policy.programs.sequence;
        nodes.clear();
        folds.each(folds, true, |fold| nodes.join(&sequence.bears_on[fold]));
        let (mut open, mut needed) = (std::mem::take(&mut self.room.open), std::mem::take(&mut self.room.needed));
        open.clear();
        needed.clear();
        folds.each(&sequence.existential, true, |fold| {
            // What a filter reads must be the same for both files.
            if !sequence.needs[fold].meets(nodes) {
                open.insert(fold);
                needed.join(&sequence.needs[fold]);
            }
        });
        if !open.is_empty() {
            needed.remove(&open);
            self.run(&needed);
            let (mut same, mut apart) = (std::mem::take(&mut self.room.same), std::mem::take(&mut self.room.apart_passes));
            same.clear();
            apart.clear();
            self.ask_apart(files, &open, &mut apart);
            self.find_in_both(&mut open, &mut apart, &mut same);
            nodes.clear();
            folds.each(&same, false, |fold| nodes.join(&sequence.bears_on[fold]));
            (self.room.same, self.room.apart_passes) = (same, apart);
        }
        (self.room.open, self.room.needed) = (open, needed);
    }

    /// Says what the filters of folds say of the records that only one file has: by fold, where they do not turn them away.
    fn ask_apart(&mut self, files: [&'a [u8]; 2], open: &Bits, passes: &mut Vec<(usize, i64)>) {
        let sequence = &self.policy.programs.sequence;
        for at in 0..self.room.apart.len() {
            let (side, record) = self.room.apart[at];
            self.file = files[side];
            self.unpack(&record);
            for group in sequence.stages.iter().flat_map(|stage| &stage.groups[usize::from(record.register)]) {
                let said = if group.is_due(open) { self.passes(group) } else { 0 };
                if said != 0 {
                    passes.extend(group.items.iter().filter(|item| open.contains(item.node)).map(|item| (item.node, said)));
                }
            }
        }
        self.file = files[1];
    }

    /// Moves folds from those that are open to those that are the same: they take no record that is apart, or take one that is in both
    /// files; or the first of these of which they do not know, and of those apart they do not know for the same reason.
    fn find_in_both(&mut self, open: &mut Bits, apart: &mut Vec<(usize, i64)>, same: &mut Bits) {
        let sequence = &self.policy.programs.sequence;
        same.copy(open);
        apart.iter().for_each(|(fold, _)| same.take(*fold));
        open.remove(same);
        for index in 0..self.room.seen.len() {
            let record = self.room.seen[index];
            let register = usize::from(record.register);
            let is_apart = self.room.apart.iter().any(|(side, apart)| *side == 1 && apart.start == record.start);
            if is_apart || !sequence.read_by[register].meets(open) || !self.lay_out(index, &record) {
                continue;
            }
            let doubted = self.environment.doubt(record.register) != 0;
            for group in sequence.stages.iter().flat_map(|stage| &stage.groups[register]) {
                let said = if group.is_due(open) { self.passes(group) } else { 0 };
                if said == 0 {
                    continue;
                }
                for item in group.items.iter().filter(|item| !doubted || item.kind == FoldKind::Held) {
                    let fold = item.node;
                    if !open.contains(fold) {
                        continue;
                    }
                    if said == 1 || apart.iter().all(|(other, passes)| *other != fold || *passes == said) {
                        open.take(fold);
                        same.insert(fold);
                    } else {
                        // The reason that counts is another one: only a record that passes can settle it.
                        apart.push((fold, 1));
                    }
                }
            }
        }
    }
}
