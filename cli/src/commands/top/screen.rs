//! The terminal: its keys and its size, and that it is left as it was found.

use std::io;
use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::draw;
use super::source::{Live, News, Replay, Source};
use super::view::{Key, View};
use crate::error::Failure;
use crate::interrupt;

/// Between two looks at what is new.
const LOOK: Duration = Duration::from_millis(100);

/// Shows a source until somebody has seen enough.
pub(super) fn show(source: Source) -> Result<(), Failure> {
    let mut feed = Feed::of(source)?;
    let mut view = feed.first()?;
    // It is left as it was also after a panic, by its hook, and where a signal ends the process.
    interrupt::at_end(ratatui::restore);
    let mut terminal = ratatui::try_init().map_err(unusable)?;
    let shown = watch(&mut terminal, &mut feed, &mut view);
    ratatui::restore();
    shown
}

fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    feed: &mut Feed,
    view: &mut View,
) -> Result<(), Failure> {
    let mut looked = Instant::now();
    loop {
        terminal
            .draw(|frame| draw::draw(frame, view))
            .map_err(unusable)?;
        interrupt::check()?;
        // A new size wakes it, too: the next drawing has it.
        if event::poll(LOOK).map_err(unusable)?
            && let Event::Key(pressed) = event::read().map_err(unusable)?
            && let Some(key) = key(pressed)
        {
            match key {
                Key::Quit => return Ok(()),
                Key::Pane(by) => view.choose(by),
                Key::Scroll(by) => view.scroll(by),
                Key::Pause => view.is_paused = !view.is_paused,
                Key::Step(by) => feed.step(by, view)?,
                Key::Faster(doublings) => feed.faster(doublings, view),
            }
        }
        let time = looked.elapsed();
        looked = Instant::now();
        feed.advance(time, view)?;
    }
}

/// What a key means, if anything.
fn key(event: KeyEvent) -> Option<Key> {
    if event.kind == KeyEventKind::Release {
        return None;
    }
    let control = event.modifiers.contains(KeyModifiers::CONTROL);
    Some(match event.code {
        // The terminal makes no signal of it.
        KeyCode::Char('c') if control => Key::Quit,
        KeyCode::Char('q') | KeyCode::Esc => Key::Quit,
        KeyCode::Tab | KeyCode::Right => Key::Pane(1),
        KeyCode::BackTab | KeyCode::Left => Key::Pane(-1),
        KeyCode::Down => Key::Scroll(1),
        KeyCode::Up => Key::Scroll(-1),
        KeyCode::PageDown => Key::Scroll(10),
        KeyCode::PageUp => Key::Scroll(-10),
        KeyCode::Char('p' | ' ') => Key::Pause,
        KeyCode::Char('.') => Key::Step(1),
        KeyCode::Char(',') => Key::Step(-1),
        KeyCode::Home => Key::Step(isize::MIN),
        KeyCode::End => Key::Step(isize::MAX),
        KeyCode::Char(']') => Key::Faster(1),
        KeyCode::Char('[') => Key::Faster(-1),
        _ => return None,
    })
}

/// What brings new snapshots.
enum Feed {
    Live(Live),
    Replay(Replay),
    /// Nothing does any more.
    Over,
}

impl Feed {
    fn of(source: Source) -> Result<Self, Failure> {
        Ok(match source {
            Source::Live(reader) => Feed::Live(Live::of(reader)?),
            Source::Recorded(recorded) => Feed::Replay(Replay::of(recorded)),
        })
    }

    /// The first view, once there is something to see.
    fn first(&mut self) -> Result<View, Failure> {
        loop {
            match self {
                Feed::Live(live) => match live.news() {
                    News::Snapshot(now) => return Ok(View::new(*now, None)),
                    News::End(Some(error)) => return Err(error.into()),
                    News::End(None) => {
                        let why = "the process ended before it said anything";
                        return Err(Failure::resource(why));
                    }
                    News::Nothing => {
                        interrupt::check()?;
                        std::thread::sleep(LOOK);
                    }
                },
                Feed::Replay(replay) => {
                    let (before, now) = replay.current()?;
                    let mut view = View::new(now, before);
                    view.place = Some(replay.place());
                    return Ok(view);
                }
                Feed::Over => unreachable!("it has just been opened"),
            }
        }
    }

    /// Lets time pass.
    fn advance(&mut self, time: Duration, view: &mut View) -> Result<(), Failure> {
        view.silent_for = None;
        match self {
            Feed::Live(live) => match live.news() {
                News::Nothing => view.silent_for = Some(live.silent_for()),
                // What comes meanwhile is passed over, so that the process is not kept waiting.
                News::Snapshot(_) if view.is_paused => {}
                News::Snapshot(now) => {
                    let before = std::mem::replace(&mut view.now, *now);
                    view.before = Some(before);
                }
                News::End(why) => {
                    let ended = || "the runtime has ended".to_owned();
                    view.note = Some(why.map_or_else(ended, |error| error.to_string()));
                    *self = Feed::Over;
                }
            },
            Feed::Replay(replay) if !view.is_paused => {
                if replay.pass(time)? {
                    Self::place(replay, view)?;
                }
            }
            Feed::Replay(_) | Feed::Over => {}
        }
        Ok(())
    }

    fn step(&mut self, by: isize, view: &mut View) -> Result<(), Failure> {
        if let Feed::Replay(replay) = self {
            // Whoever steps wants to look.
            view.is_paused = true;
            replay.step(by);
            Self::place(replay, view)?;
        }
        Ok(())
    }

    fn faster(&mut self, doublings: i32, view: &mut View) {
        if let Feed::Replay(replay) = self {
            replay.faster(doublings);
            view.place = Some(replay.place());
        }
    }

    fn place(replay: &mut Replay, view: &mut View) -> Result<(), Failure> {
        let (before, now) = replay.current()?;
        view.show(now, before);
        view.place = Some(replay.place());
        Ok(())
    }
}

fn unusable(error: io::Error) -> Failure {
    Failure::resource(format!(
        "the terminal cannot be used: {error}; --once prints how things are"
    ))
}
