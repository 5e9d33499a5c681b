//! How many bytes the tables and sets of a dispatch may have.

use std::fmt;

/// Most bytes that a device takes of the tables and sets of one dispatch; [`u64::MAX`] where there is
/// no limit but memory.
///
/// ```
/// use unlade_hal::{Entries, EntryLimits};
///
/// let limits = EntryLimits { set: 1000, ..EntryLimits::NONE };
/// let sets = [Entries::Set(800), Entries::Set(1200)];
/// let excess: Vec<_> = limits.excess(sets).collect();
/// assert_eq!(excess[0].position, 1);
/// assert_eq!(excess[0].to_string(), "a set of 1200 bytes (1000 at most)");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryLimits {
    /// Of one table.
    pub table: u64,
    /// Of one set.
    pub set: u64,
    /// Of all tables and sets together.
    pub together: u64,
}

impl EntryLimits {
    /// No limit but memory.
    pub const NONE: EntryLimits = EntryLimits {
        table: u64::MAX,
        set: u64::MAX,
        together: u64::MAX,
    };

    /// Of the tables and sets of a dispatch, those for which there is no room beside the ones before
    /// them that there is room for.
    pub fn excess(
        &self,
        entries: impl IntoIterator<Item = Entries>,
    ) -> impl Iterator<Item = Excess> {
        let limits = *self;
        let mut left = limits.together;
        let all = entries.into_iter().enumerate();
        all.filter_map(move |(position, entries)| {
            let most = left.min(match entries {
                Entries::Table(_) => limits.table,
                Entries::Set(_) => limits.set,
            });
            if entries.bytes() > most {
                return Some(Excess {
                    position,
                    entries,
                    most,
                });
            }
            left -= entries.bytes();
            None
        })
    }
}

/// A table or a set, by its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entries {
    /// A table of so many.
    Table(u64),
    /// A set of so many.
    Set(u64),
}

impl Entries {
    /// How many bytes it has.
    pub fn bytes(self) -> u64 {
        match self {
            Entries::Table(bytes) | Entries::Set(bytes) => bytes,
        }
    }
}

/// A table or a set for which a device has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// Which it is of those that were asked about.
    pub position: usize,
    /// The table or set.
    pub entries: Entries,
    /// Bytes that it could have beside the others.
    pub most: u64,
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.entries {
            Entries::Table(_) => "table",
            Entries::Set(_) => "set",
        };
        let (bytes, most) = (self.entries.bytes(), self.most);
        write!(f, "a {what} of {bytes} bytes ({most} at most)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_its_limit_and_all_together_have_one() {
        let limits = EntryLimits {
            table: 100,
            set: 10,
            together: 150,
        };
        let excess = |entries: &[Entries]| {
            let excess = limits.excess(entries.iter().copied());
            excess
                .map(|excess| (excess.position, excess.most))
                .collect::<Vec<_>>()
        };
        use Entries::{Set, Table};
        assert_eq!(excess(&[Table(100), Set(10), Table(40)]), []);
        assert_eq!(excess(&[Table(101), Set(11)]), [(0, 100), (1, 10)]);
        // What has no room takes none.
        let entries = [Table(100), Set(11), Table(51), Set(10), Table(40), Set(1)];
        assert_eq!(excess(&entries), [(1, 10), (2, 50), (5, 0)]);
        let huge = [Table(u64::MAX), Set(u64::MAX)];
        let beyond: Vec<Excess> = EntryLimits::NONE.excess(huge).collect();
        assert_eq!(beyond.len(), 1, "bytes are added without overflow");
    }
}
