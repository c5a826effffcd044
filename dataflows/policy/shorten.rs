//! Fewer operations for the same: a compiled program keeps values for itself that it could leave where they belong, and skips to where it skips again.

use super::graph::TEMPORARIES;
use super::program::{Op, Reg};

/// A program that leaves the same in every lasting register, and in `result`.
pub fn shorten(mut ops: Vec<Op>, result: Option<Reg>) -> Vec<Op> {
    if result.is_none() {
        write_in_place(&mut ops);
    }
    let mut targets: Vec<usize> = ops.iter().enumerate().map(|(at, op)| at + 1 + usize::from(op.skips().unwrap_or(0))).collect();
    thread(&ops, &mut targets);
    let gone = join(&mut ops, &mut targets);
    // Where an operation stands when those that are gone are left out.
    let moved: Vec<usize> = std::iter::once(0)
        .chain(gone.iter().scan(0, |left, gone| {
            *left += usize::from(!gone);
            Some(*left)
        }))
        .collect();
    let kept = (0..ops.len()).filter(|at| !gone[*at]);
    kept.map(|at| ops[at].skipping((moved[targets[at]] - moved[at] - 1) as u16)).collect()
}

/// Has a program whose last operation keeps a value of its own for others work on it where it is kept.
fn write_in_place(ops: &mut Vec<Op>) {
    let Some((Op::Move(to, from), before)) = ops.split_last() else { return };
    let (to, from) = (*to, *from);
    let mut is_used = from >= TEMPORARIES || to < TEMPORARIES;
    for (at, op) in before.iter().enumerate() {
        op.reads(|reg| is_used |= reg == to);
        is_used |= op
            .target()
            .is_some_and(|(first, width)| (first..first + width).contains(&to) || width == 2 && (first..first + 2).contains(&from));
        is_used |= op.skips().is_some_and(|count| at + 1 + usize::from(count) > before.len());
    }
    if !is_used {
        ops.pop();
        ops.iter_mut().for_each(|op| op.rename(from, to));
    }
}

/// A skip to one that then skips too goes on to where that leads.
fn thread(ops: &[Op], targets: &mut [usize]) {
    for at in (0..ops.len()).rev() {
        let goes_on = |target: usize| match (ops[at], ops.get(target)) {
            (Op::SkipIfFalse(one, _), Some(Op::SkipIfFalse(other, _))) | (Op::SkipIfTrue(one, _), Some(Op::SkipIfTrue(other, _))) => {
                one == *other
            }
            (Op::Skip(_) | Op::SkipIfFalse(..) | Op::SkipIfTrue(..) | Op::SkipIfUnknown(..), Some(Op::Skip(_))) => true,
            _ => false,
        };
        while targets[at] > at + 1 && goes_on(targets[at]) {
            targets[at] = targets[targets[at]];
        }
    }
}

/// Makes one of a copy and of a skip by it, to which nothing else leads; which operations are gone.
fn join(ops: &mut [Op], targets: &mut [usize]) -> Vec<bool> {
    let mut gone = vec![false; ops.len()];
    for at in 1..ops.len() {
        let joined = match (ops[at - 1], ops[at]) {
            (Op::Move(to, from), Op::SkipIfFalse(by, _)) if to == by => Op::MoveSkipIfFalse(to, from, 0),
            (Op::Move(to, from), Op::SkipIfTrue(by, _)) if to == by => Op::MoveSkipIfTrue(to, from, 0),
            _ => continue,
        };
        let is_target = (0..at).any(|other| ops[other].skips().is_some() && targets[other] == at);
        if !is_target {
            (ops[at - 1], targets[at - 1], gone[at]) = (joined, targets[at], true);
        }
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::super::program::{Clock, registers, run};
    use super::*;
    use crate::model::Date;
    use crate::policy::graph::FIELDS;

    const LASTS: Reg = 20_000;

    /// What both programs leave in the lasting register, for all truths of three fields.
    fn same(ops: Vec<Op>, result: Option<Reg>) -> usize {
        let short = shorten(ops.clone(), result);
        for truths in 0..64_i64 {
            let left = |ops: &[Op]| {
                let mut regs = registers();
                for field in 0..3 {
                    regs[usize::from(FIELDS) + field] = [0, 1, super::super::program::unknown(7), 1][(truths >> (2 * field) & 3) as usize];
                }
                run(ops, &mut regs, &[], &mut Clock::new(Date(0)));
                regs[usize::from(result.unwrap_or(LASTS))]
            };
            assert_eq!(left(&short), left(&ops), "{truths}: {ops:?} as {short:?}");
        }
        short.len()
    }

    #[test]
    fn a_shorter_program_leaves_the_same() {
        let (a, b, c) = (FIELDS, FIELDS + 1, FIELDS + 2);
        // a && !b && c
        let and = [Op::Move(0, a), Op::SkipIfFalse(0, 2), Op::Not(2, b), Op::And(0, 0, 2), Op::SkipIfFalse(0, 1), Op::And(0, 0, c)];
        assert_eq!(same([&and[..], &[Op::Move(LASTS, 0)]].concat(), None), 5);
        assert_eq!(same(and.to_vec(), Some(0)), 5);
        // a ? b : c
        let choice = [Op::SkipIfUnknown(0, a, 4), Op::SkipIfFalse(a, 2), Op::Move(0, b), Op::Skip(1), Op::Move(0, c), Op::Move(LASTS, 0)];
        assert_eq!(same(choice.to_vec(), None), 5);
        // Of a member who is not meant nothing is left of the value: the last copy is skipped.
        let member = [Op::Move(LASTS, a), Op::SkipIfFalse(b, 1), Op::Move(LASTS, c)];
        assert_eq!(same(member.to_vec(), None), 3);
        // A skip by something else leads to the one that would be joined.
        let entered = [Op::SkipIfFalse(a, 1), Op::Move(0, b), Op::SkipIfFalse(0, 1), Op::And(0, 0, c), Op::Move(LASTS, 0)];
        assert_eq!(same(entered.to_vec(), None), 4);
        assert_eq!(same(vec![Op::Move(0, b), Op::SkipIfTrue(0, 2), Op::Or(0, 0, a), Op::Or(0, 0, c), Op::Move(LASTS, 0)], None), 3);
    }
}
