//! Registers: first one per value, then as few as their lifetimes allow, so that those of a tile
//! stay in the first-level cache.

use unlade_program::Val;

use crate::frame::{Place, Step};

/// Hands out a register per value, and maps them onto fewer at the end.
#[derive(Debug, Default)]
pub(super) struct Allocator {
    /// Bytes per row of each vector register.
    widths: Vec<usize>,
    masks: usize,
    /// The register of a value of the first stage.
    of_value: Vec<(Val, Place)>,
}

impl Allocator {
    pub(super) fn vector(&mut self, width: usize) -> Place {
        self.widths.push(width);
        Place::Vector(self.widths.len() as u32 - 1)
    }

    pub(super) fn mask(&mut self) -> Place {
        self.masks += 1;
        Place::Mask(self.masks as u32 - 1)
    }

    pub(super) fn vector_for(&mut self, val: Val, width: usize) -> Place {
        let place = self.vector(width);
        self.of_value.push((val, place));
        place
    }

    pub(super) fn mask_for(&mut self, val: Val) -> Place {
        let place = self.mask();
        self.of_value.push((val, place));
        place
    }

    /// The first register that a value was given: that of the first stage, where it is in that.
    pub(super) fn of(&self, val: Val) -> Place {
        let found = self.of_value.iter().find(|(of, _)| *of == val);
        found
            .expect("what the second stage takes from the first was computed there")
            .1
    }

    /// Rewrites all steps and `keep` to as few registers as the lifetimes allow. Returns the bytes
    /// per row of the vector registers and the number of mask registers.
    ///
    /// The lists run in this order: the prologue, the first, then one of the others. What the
    /// first leaves for any of the others lives through all of that.
    pub(super) fn assign(
        &self,
        prologue: &mut [(Step, usize)],
        lists: &mut [Vec<Step>; 3],
        keep: &mut Place,
    ) -> (Vec<usize>, usize) {
        let mut pool = Pool {
            virtual_widths: &self.widths,
            vector_of: vec![None; self.widths.len()],
            mask_of: vec![None; self.masks],
            widths: Vec::new(),
            masks: 0,
            free_vectors: Vec::new(),
            free_masks: Vec::new(),
        };
        let [first, dense, compacted] = lists;
        let mut pinned = vec![*keep];
        for step in dense.iter().chain(&*compacted) {
            pinned.extend(operands(step));
        }
        pool.assign(prologue.iter_mut().map(|(step, _)| step), &[]);
        pool.assign(first.iter_mut(), &pinned);
        pool.assign(dense.iter_mut(), &[]);
        pool.assign(compacted.iter_mut(), &[]);
        *keep = pool.mapped(*keep);
        (pool.widths, pool.masks)
    }
}

struct Pool<'a> {
    virtual_widths: &'a [usize],
    /// The register that each of the allocator's was mapped onto.
    vector_of: Vec<Option<u32>>,
    mask_of: Vec<Option<u32>>,
    /// Bytes per row of each register.
    widths: Vec<usize>,
    masks: usize,
    free_vectors: Vec<u32>,
    free_masks: Vec<u32>,
}

impl Pool<'_> {
    /// Maps the registers of a list; only those that it writes itself and that are not pinned are
    /// free again after it.
    fn assign<'s>(&mut self, steps: impl ExactSizeIterator<Item = &'s mut Step>, pinned: &[Place]) {
        let steps: Vec<&mut Step> = steps.collect();
        let mut last_use = LastUse {
            vectors: vec![None; self.vector_of.len()],
            masks: vec![None; self.mask_of.len()],
        };
        for (index, step) in steps.iter().enumerate() {
            if let Some(last) = last_use.of(step.to) {
                *last = Some(index);
            }
            for arg in operands(step) {
                // Registers of an earlier list have no entry, as they stay.
                if let Some(last @ Some(_)) = last_use.of(arg) {
                    *last = Some(index);
                }
            }
        }
        for place in pinned {
            if let Some(last) = last_use.of(*place) {
                *last = None;
            }
        }
        for (index, step) in steps.into_iter().enumerate() {
            let [first, second, third, within] = operands(step);
            let places = [first, second, third, within, step.to];
            step.args = step.args.map(|arg| self.mapped(arg));
            step.within = self.mapped(step.within);
            // Operands are still taken: a step never writes what it reads.
            step.to = self.taken(step.to);
            for place in places {
                if let Some(last) = last_use.of(place)
                    && *last == Some(index)
                {
                    *last = None;
                    self.release(place);
                }
            }
        }
    }

    fn mapped(&self, place: Place) -> Place {
        const WRITTEN: &str = "a register is written before it is read";
        match place {
            Place::Vector(index) => Place::Vector(self.vector_of[index as usize].expect(WRITTEN)),
            Place::Mask(index) => Place::Mask(self.mask_of[index as usize].expect(WRITTEN)),
            other => other,
        }
    }

    fn taken(&mut self, place: Place) -> Place {
        match place {
            Place::Vector(index) => {
                let width = self.virtual_widths[index as usize];
                let fits = |register: &u32| self.widths[*register as usize] == width;
                let register = match self.free_vectors.iter().position(fits) {
                    Some(position) => self.free_vectors.swap_remove(position),
                    None => {
                        self.widths.push(width);
                        self.widths.len() as u32 - 1
                    }
                };
                self.vector_of[index as usize] = Some(register);
                Place::Vector(register)
            }
            Place::Mask(index) => {
                let register = self.free_masks.pop().unwrap_or_else(|| {
                    self.masks += 1;
                    self.masks as u32 - 1
                });
                self.mask_of[index as usize] = Some(register);
                Place::Mask(register)
            }
            other => other,
        }
    }

    fn release(&mut self, place: Place) {
        match self.mapped(place) {
            Place::Vector(register) => self.free_vectors.push(register),
            Place::Mask(register) => self.free_masks.push(register),
            _ => {}
        }
    }
}

/// Every place that a step reads.
fn operands(step: &Step) -> [Place; 4] {
    let [first, second, third] = step.args;
    [first, second, third, step.within]
}

/// The last step of a list that uses a register which the list writes.
struct LastUse {
    vectors: Vec<Option<usize>>,
    masks: Vec<Option<usize>>,
}

impl LastUse {
    fn of(&mut self, place: Place) -> Option<&mut Option<usize>> {
        match place {
            Place::Vector(index) => Some(&mut self.vectors[index as usize]),
            Place::Mask(index) => Some(&mut self.masks[index as usize]),
            _ => None,
        }
    }
}
