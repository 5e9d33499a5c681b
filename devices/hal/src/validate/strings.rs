//! The rules of a dispatch that compacts strings.

use unlade_program::{Offsets, StringsArg};

use super::{Broken, Rules};
use crate::command::{Arg, Slot, Span};
use crate::strings::{StringsStatus, access};
use crate::views::Access;

impl Rules<'_> {
    pub(super) fn strings(
        &self,
        offsets: Offsets,
        rows: u64,
        args: &[Arg],
        status: &Span,
    ) -> Result<(), Broken> {
        let device = &self.info.name;
        if !self.capabilities.strings {
            return Err(format!("{device} compacts no strings"));
        }
        if rows > self.capabilities.max_rows {
            let most = self.capabilities.max_rows;
            return Err(format!(
                "{rows} rows are more than {most}, the most at once; split them"
            ));
        }
        if args.len() != StringsArg::ALL.len() {
            return Err(format!(
                "compaction of strings takes {} arguments, not {}",
                StringsArg::ALL.len(),
                args.len()
            ));
        }
        let bytes = match &args[StringsArg::Bytes as usize] {
            Arg::Span { span, .. } => span.len(),
            Arg::Absent | Arg::Scalar(_) => 0,
        };
        let mut used = Vec::with_capacity(args.len());
        for (role, arg) in StringsArg::ALL.into_iter().zip(args) {
            self.string_argument(role, arg, offsets, rows, bytes)
                .map_err(|broken| format!("argument {} ({role:?}): {broken}", role as usize))?;
            if let Arg::Span { span, .. } = arg {
                used.push((span, access(role)));
            }
        }
        self.string_memory(status, Access::Write, 1)
            .and_then(|()| match status.len() {
                StringsStatus::BYTES => Ok(()),
                other => Err(format!(
                    "it takes {} bytes, not {other}",
                    StringsStatus::BYTES
                )),
            })
            .map_err(|broken| format!("status: {broken}"))?;
        used.push((status, Access::Write));
        self.disjoint(used)
    }

    fn string_argument(
        &self,
        role: StringsArg,
        arg: &Arg,
        offsets: Offsets,
        rows: u64,
        bytes: u64,
    ) -> Result<(), Broken> {
        let (span, bit_offset) = match (role, arg) {
            (StringsArg::First, Arg::Scalar(_)) => return Ok(()),
            (StringsArg::First, _) => return Err("a scalar is needed".to_owned()),
            (_, Arg::Span { span, bit_offset }) => (span, u64::from(*bit_offset)),
            (_, Arg::Absent | Arg::Scalar(_)) => return Err("memory is needed".to_owned()),
        };
        if bit_offset > if role == StringsArg::Mask { 7 } else { 0 } {
            return Err(format!("bit offset {bit_offset} is not possible here"));
        }
        let is_offsets = matches!(role, StringsArg::Offsets | StringsArg::KeptOffsets);
        let width = if is_offsets { offsets.bytes() } else { 1 };
        self.string_memory(span, access(role), width)?;
        let all_offsets = (rows + 1) * offsets.bytes();
        let slack = self.capabilities.slack;
        let wanted = match role {
            StringsArg::Mask => (rows + bit_offset).div_ceil(8),
            StringsArg::Offsets => all_offsets,
            StringsArg::KeptOffsets => all_offsets + slack,
            StringsArg::KeptBytes => bytes.saturating_add(slack),
            StringsArg::Bytes | StringsArg::First => 0,
        };
        match span.len() {
            found if found >= wanted => Ok(()),
            found => Err(format!(
                "{rows} rows take {wanted} bytes here, but there are {found}"
            )),
        }
    }

    /// Memory of the device, or that it reads in place, where elements of this width can be loaded.
    fn string_memory(&self, span: &Span, access: Access, width: u64) -> Result<(), Broken> {
        let slot = match access {
            Access::Read => self.inside(span)?,
            Access::Write => self.writable(span)?,
        };
        match slot {
            Slot::Foreign(buffer) => {
                let wanted = width.min(self.capabilities.foreign_alignment);
                let at = buffer.as_ptr() as u64 + span.bytes.start;
                match at.is_multiple_of(wanted) {
                    true => Ok(()),
                    false => Err(format!(
                        "it is foreign memory at {at:#x}, and {} loads offsets at multiples of \
                         {wanted} bytes; copy it first",
                        self.info.name
                    )),
                }
            }
            in_a_slab => self.usable(span, in_a_slab),
        }
    }
}
