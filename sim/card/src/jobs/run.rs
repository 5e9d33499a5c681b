//! The execution of a RUN.

use super::arguments::{Buffers, Run};
use super::descriptor::{Placed, Stop};
use super::streams::{Reader, Writer, read_whole};
use super::transfers::{Tamper, Transfers};
use crate::bytecode::Operation;
use crate::bytes::{index, length};
use crate::firmware::{ColumnTile, Constants, Table, number, run_tile};
use crate::status::{Outcome, Status};
use crate::types::Type;

/// The row of a trap where there is none.
const NO_ROW: u64 = u64::MAX;

/// Most words that run, all rows of a tile together, between two looks at whether a reset has begun.
const MAX_TILE_WORDS: usize = 1 << 16;

/// Runs the program over all rows, by tiles of so many at most.
pub(super) fn run(
    run: &Run,
    tile_rows: u32,
    step: u32,
    transfers: &mut Transfers<'_>,
) -> Result<(), Stop> {
    let constants = constants(run, transfers)?;
    let mut columns = ColumnReaders::new(run);
    let mut outputs = OutputWriters::new(run);
    let short_tile = length(MAX_TILE_WORDS / run.program.words.len().max(1)).max(1);
    let (mut row, mut kept) = (0, 0);
    while row < run.rows {
        transfers.go_on()?;
        let rows = u64::from(tile_rows).min(short_tile).min(run.rows - row);
        let tile = columns.next(transfers, index(rows))?;
        let result = run_tile(&run.program, &constants, &tile, index(rows));
        if let Some((trap, ordinal)) = result.trap {
            let trap = row + length(trap);
            transfers.write_block(run.result, &result_block(0, trap, ordinal))?;
            return Err(Outcome::new(Status::Trapped, step, 0).into());
        }
        outputs.push(transfers, &result.keep, &result.outputs)?;
        kept += length(result.keep.iter().filter(|&&keep| keep == 1).count());
        row += rows;
    }
    let checksums = outputs.finish(transfers)?;
    if transfers.tamper() == Tamper::HugeTrap {
        transfers.write_block(run.result, &result_block(0, run.rows + (1 << 40), 0))?;
        return Err(Outcome::new(Status::Trapped, step, 0).into());
    }
    if transfers.tamper() == Tamper::HugeCount {
        kept = run.rows + (1 << 40);
    }
    transfers.write_block(run.result, &result_block(kept, NO_ROW, 0))?;
    if let Some(block) = run.checksums {
        let bytes: Vec<u8> = checksums
            .iter()
            .flat_map(|checksum| checksum.to_le_bytes())
            .collect();
        transfers.write_block(block, &bytes)?;
    }
    Ok(())
}

fn result_block(kept: u64, trap: u64, ordinal: u32) -> Vec<u8> {
    let mut block = Vec::with_capacity(24);
    block.extend(kept.to_le_bytes());
    block.extend(trap.to_le_bytes());
    block.extend(ordinal.to_le_bytes());
    block.extend([0; 4]);
    block
}

fn constants(run: &Run, transfers: &mut Transfers<'_>) -> Result<Constants, Stop> {
    let mut constants = Constants {
        params: run.params.clone(),
        ..Constants::default()
    };
    for (table, from) in run.program.tables.iter().zip(&run.tables) {
        constants.tables.push(Table {
            ty: table.ty,
            bytes: read_whole(from, transfers)?,
        });
    }
    for (set, from) in run.program.sets.iter().zip(&run.sets) {
        let bytes = read_whole(from, transfers)?;
        let mut members: Vec<u128> = bytes.chunks_exact(set.ty.bytes()).map(number).collect();
        members.sort_unstable();
        members.dedup();
        members.shrink_to_fit();
        constants.sets.push(members);
    }
    Ok(constants)
}

/// The buffers of the columns that some word looks at.
#[derive(Debug)]
struct ColumnReaders<'a> {
    columns: Vec<(Option<Reader<'a>>, Option<Reader<'a>>)>,
}

impl<'a> ColumnReaders<'a> {
    fn new(run: &'a Run) -> Self {
        let reader = |(number, buffers): (usize, &'a Buffers)| {
            let ty = run.program.columns[number].ty;
            let loaded = run.program.reads(Operation::Load, number);
            let asked = run.program.reads(Operation::Validity, number);
            let validity = buffers.validity.as_ref().filter(|_| asked);
            (
                loaded.then(|| Reader::new(&buffers.values, ty)),
                validity.map(|validity| Reader::new(validity, Type::Mask)),
            )
        };
        ColumnReaders {
            columns: run.columns.iter().enumerate().map(reader).collect(),
        }
    }

    fn next(
        &mut self,
        transfers: &mut Transfers<'_>,
        rows: usize,
    ) -> Result<Vec<ColumnTile>, Stop> {
        let mut tiles = Vec::with_capacity(self.columns.len());
        for (values, validity) in &mut self.columns {
            let mut tile = ColumnTile::default();
            if let Some(values) = values {
                tile.values = values.next(transfers, rows)?;
            }
            if let Some(validity) = validity {
                tile.validity = Some(validity.next(transfers, rows)?);
            }
            tiles.push(tile);
        }
        Ok(tiles)
    }
}

/// What the program writes.
#[derive(Debug)]
struct OutputWriters<'a> {
    keep_mask: Option<Writer<'a>>,
    outputs: Vec<(Writer<'a>, Option<Writer<'a>>)>,
}

impl<'a> OutputWriters<'a> {
    fn new(run: &'a Run) -> Self {
        let mask = |to: &'a Placed| Writer::new(to, Type::Mask);
        let writers = |(buffers, output): (&'a Buffers, &crate::bytecode::Declaration)| {
            (
                Writer::new(&buffers.values, output.ty),
                buffers.validity.as_ref().map(mask),
            )
        };
        OutputWriters {
            keep_mask: run.keep_mask.as_ref().map(mask),
            outputs: run
                .outputs
                .iter()
                .zip(&run.program.outputs)
                .map(writers)
                .collect(),
        }
    }

    fn push(
        &mut self,
        transfers: &mut Transfers<'_>,
        keep: &[u128],
        tiles: &[crate::firmware::OutputTile],
    ) -> Result<(), Stop> {
        if let Some(keep_mask) = &mut self.keep_mask {
            keep_mask.push(transfers, keep)?;
        }
        for ((values, validity), tile) in self.outputs.iter_mut().zip(tiles) {
            values.push(transfers, &tile.values)?;
            if let Some(validity) = validity {
                validity.push(transfers, &tile.validity)?;
            }
        }
        Ok(())
    }

    /// The checksums, in the order of their block.
    fn finish(self, transfers: &mut Transfers<'_>) -> Result<Vec<u32>, Stop> {
        let mut checksums = Vec::new();
        if let Some(keep_mask) = self.keep_mask {
            checksums.push(keep_mask.finish(transfers)?);
        }
        for (values, validity) in self.outputs {
            checksums.push(values.finish(transfers)?);
            checksums.push(match validity {
                Some(validity) => validity.finish(transfers)?,
                None => 0,
            });
        }
        Ok(checksums)
    }
}
