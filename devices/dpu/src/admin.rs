//! The admin queue: one command at a time, each waited for (docs/CARD.md, section 6).

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::command::{self, NewPair};
use crate::controller::Controller;
use crate::dma::{Arranged, DmaMemory};
use crate::entry::{Operand, Submission};
use crate::error_log::ErrorLog;
use crate::fault::Fault;
use crate::fields::Fields;
use crate::health_log::HealthLog;
use crate::identity::Identity;
use crate::mappings::Mappings;
use crate::pair::{Place, QueuePair, vector_of};
use crate::returns::Returns;
use crate::status::StatusCode;
use crate::transport::CardAccess;

/// Entries of the admin queue.
const ENTRIES: u32 = 16;

/// Bytes for what the card writes in answer to a command. No log is longer that the driver reads.
const REPLY: u64 = 64 << 10;

/// How long an answer is asked for again and again before the thread sleeps in between.
const SPIN: Duration = Duration::from_micros(100);

/// How long it sleeps.
const NAP: Duration = Duration::from_micros(200);

/// How often the card's status is looked at while an answer is awaited.
const WATCH: Duration = Duration::from_millis(50);

/// How long a command may take that waits for jobs, beyond what others take.
const JOBS: Duration = Duration::from_secs(10);

/// The admin queue of an enabled card.
#[derive(Debug)]
pub(crate) struct Admin {
    controller: Controller,
    pair: QueuePair,
    /// What the card reads: its queue.
    _commands: Arc<DmaMemory>,
    /// What the card writes: its queue, and what commands ask for.
    answers: Arc<DmaMemory>,
    reply: u64,
    next_id: u16,
}

/// A program's handle on the card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Handle(pub(crate) u32);

impl Admin {
    /// Enables the card, which is disabled first where it is not.
    pub(crate) fn start(
        controller: &Controller,
        mappings: &Mappings,
        returns: &Returns,
    ) -> Result<Self, Fault> {
        controller.disable()?;
        let (submissions_len, completions_len) = Place::lens(ENTRIES);
        let mut arranged = Arranged::default();
        let completions = arranged.pages(completions_len);
        let reply = arranged.pages(REPLY);
        let memory = |len, access, what| {
            let transport = controller.transport();
            DmaMemory::new(mappings, transport, returns, len, access, what).map(Arc::new)
        };
        let commands = memory(submissions_len, CardAccess::Read, "the admin queue")?;
        let answers = memory(
            arranged.len(),
            CardAccess::Write,
            "the admin queue's answers",
        )?;
        let place = Place {
            commands: Arc::clone(&commands),
            submissions: 0,
            answers: Arc::clone(&answers),
            completions,
            entries: ENTRIES,
        };
        let pair = QueuePair::new(0, &place);
        controller.enable(&place)?;
        Ok(Admin {
            controller: controller.clone(),
            pair,
            _commands: commands,
            answers,
            reply,
            next_id: 0,
        })
    }

    /// What the card says of itself.
    pub(crate) fn identify(&mut self) -> Result<Identity, Fault> {
        const LEN: u64 = 4096;
        self.answers.zero(self.reply, LEN);
        let operand = Operand::memory(self.answers.iova(self.reply), LEN);
        self.execute("IDENTIFY", command::identify(operand))?;
        let mut bytes = vec![0; Identity::LEN];
        self.answers.load(self.reply, &mut bytes);
        Identity::decode(&bytes, self.controller.cap()).map_err(Fault::Lie)
    }

    /// The list of operations that the card has, of as many entries as it has said.
    pub(crate) fn capabilities(&mut self, entries: u32) -> Result<Vec<u8>, Fault> {
        const ENTRY: usize = 8;
        let (said, list) = self.list("GET_LOG of the capabilities", 0x02, ENTRY)?;
        match said == entries {
            true => Ok(list),
            false => Err(Fault::Lie(format!(
                "its list of operations has {said} entries, and IDENTIFY says {entries}"
            ))),
        }
    }

    /// How the card is.
    pub(crate) fn health(&mut self) -> Result<HealthLog, Fault> {
        let bytes = self.log("GET_LOG of the health", 0x01)?;
        HealthLog::decode(&bytes).map_err(Fault::Lie)
    }

    /// The errors that it has noted.
    pub(crate) fn errors(&mut self) -> Result<ErrorLog, Fault> {
        let (count, entries) = self.list("GET_LOG of the errors", 0x03, ErrorLog::ENTRY)?;
        if count > ErrorLog::MOST {
            let most = ErrorLog::MOST;
            return Err(Fault::Lie(format!(
                "its log of errors has {count} entries, and there are {most} at most"
            )));
        }
        ErrorLog::decode(&entries).map_err(Fault::Lie)
    }

    /// Creates a queue pair that interrupts.
    pub(crate) fn create_pair(&mut self, number: u16, place: &Place) -> Result<(), Fault> {
        let entries = u16::try_from(place.entries).expect("queues have at most 32,768 entries");
        let command = command::create_queue_pair(&NewPair {
            number,
            vector: vector_of(number),
            submissions: (place.submission_iova(), entries),
            completions: (place.completion_iova(), entries),
        });
        self.execute("CREATE_QUEUE_PAIR", command)?;
        Ok(())
    }

    /// Deletes a queue pair: when it returns, the card touches nothing of it any more.
    pub(crate) fn delete_pair(&mut self, number: u16) -> Result<(), Fault> {
        let command = command::delete_queue_pair(number);
        self.execute_within("DELETE_QUEUE_PAIR", command, JOBS)?;
        Ok(())
    }

    /// Loads a program that lies in memory which the card reads.
    pub(crate) fn load_program(&mut self, bytecode: Operand) -> Result<Handle, Fault> {
        match self.execute("LOAD_PROGRAM", command::load_program(bytecode))? {
            (0, _) => Err(Fault::Lie(
                "it gives the handle 0, which is none, to a program".to_owned(),
            )),
            (handle, _) => Ok(Handle(handle)),
        }
    }

    /// Drops a program.
    pub(crate) fn drop_program(&mut self, handle: Handle) -> Result<(), Fault> {
        self.execute_within("DROP_PROGRAM", command::drop_program(handle), JOBS)?;
        Ok(())
    }

    /// A page that is a list: how many entries it has, and these without their header.
    fn list(
        &mut self,
        what: &'static str,
        page: u16,
        entry: usize,
    ) -> Result<(u32, Vec<u8>), Fault> {
        const HEADER: usize = 16;
        let mut page = self.log(what, page)?;
        let len = page.len();
        let said = (len >= HEADER).then(|| (Fields(&page).u32(0), Fields(&page).u32(4)));
        let fits = said.filter(|&(entries, bytes)| {
            let list = u64::from(entries).checked_mul(entry as u64);
            bytes as usize == entry && list == Some((len - HEADER) as u64)
        });
        match fits {
            Some((entries, _)) => Ok((entries, page.split_off(HEADER))),
            None => Err(Fault::Lie(format!(
                "{what}: its page has {len} bytes, and says (entries, bytes of each) {said:?}"
            ))),
        }
    }

    /// A whole page of the log.
    fn log(&mut self, what: &'static str, page: u16) -> Result<Vec<u8>, Fault> {
        let operand = Operand::memory(self.answers.iova(self.reply), REPLY);
        let (total, written) = self.execute(what, command::get_log(page, operand))?;
        if total != written || u64::from(written) > REPLY {
            return Err(Fault::Lie(format!(
                "{what}: it says that {written} of {total} bytes were written where there was room \
                 for {REPLY}"
            )));
        }
        let len = usize::try_from(written).expect("less than what was mapped");
        let mut bytes = vec![0; len];
        self.answers.load(self.reply, &mut bytes);
        Ok(bytes)
    }

    fn execute(&mut self, what: &'static str, command: Submission) -> Result<(u32, u32), Fault> {
        self.execute_within(what, command, Duration::ZERO)
    }

    /// Sends a command and waits for its answer, as long as the card may take and so much more.
    fn execute_within(
        &mut self,
        what: &'static str,
        command: Submission,
        more: Duration,
    ) -> Result<(u32, u32), Fault> {
        let id = self.next_id;
        self.next_id = id.wrapping_add(1);
        let position = self.pair.submit(&self.controller, command, id)?;
        let after = self.controller.cap().timeout + more;
        let began = Instant::now();
        let mut watched = began;
        loop {
            let now = Instant::now();
            if let Some(answer) = self.pair.take()? {
                self.pair.acknowledge(&self.controller)?;
                if answer.id != id || !self.pair.is_fetched(position) {
                    return Err(Fault::Lie(format!(
                        "it answers admin command {}, while only {id} is under way",
                        answer.id
                    )));
                }
                let (status, dw0, dw1) = (answer.status, answer.dw0, answer.dw1);
                return match status {
                    StatusCode::SUCCESS => Ok((dw0, dw1)),
                    status => Err(Fault::Refused {
                        what,
                        status,
                        dw0,
                        dw1,
                    }),
                };
            }
            if now - watched >= WATCH {
                watched = now;
                self.controller.check()?;
                self.pair.check_phase()?;
            }
            if now - began >= after {
                return Err(Fault::TimedOut { what, after });
            }
            match now - began < SPIN {
                true => thread::yield_now(),
                false => thread::sleep(NAP),
            }
        }
    }
}
