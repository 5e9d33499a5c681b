//! The screen: all panes where there is room for them, else those that matter most, or the chosen one.

use std::cmp::Reverse;
use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Cell, Paragraph, Row, Table};
use unicode_width::UnicodeWidthStr;

use super::panes::{self, Pane, Rows, has_queue, heading};
use super::view::View;
use crate::report::table::Align;

/// The least that several panes need, without the lines above and below them.
const SEVERAL_PANES: (u16, u16) = (72, 22);

/// Lines of a pane that are not its rows: its frame and its head.
const AROUND: u16 = 3;

/// The least lines of a pane beside others: two rows.
const LEAST: u16 = AROUND + 2;

/// Most rows of the devices that are shown at once beside other panes.
const MOST_DEVICES: u16 = 8;

/// The least of a text at the end of a row that is worth showing.
const LEAST_TEXT: usize = 10;

/// The most of a name.
const MOST_NAME: usize = 32;

/// For how long nothing has come where what is shown is old: a process sends something twice a second.
const STALE: Duration = Duration::from_secs(2);

/// Columns between two of a table's.
const GAP: u16 = 2;

pub(super) fn draw(frame: &mut Frame<'_>, view: &View) {
    let rows = Layout::vertical([
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
    ]);
    let [head, body, foot] = rows.areas(frame.area());
    frame.render_widget(Paragraph::new(header(view, head.width.into())), head);
    for (pane, area) in areas(body, view) {
        draw_pane(frame, area, pane, view);
    }
    let dim = Style::new().add_modifier(Modifier::DIM);
    frame.render_widget(Paragraph::new(view.help()).style(dim), foot);
}

/// What must be seen comes first; of the counts there are those for which there is room.
fn header(view: &View, room: usize) -> Line<'static> {
    let [process, counts @ ..] = heading(&view.now);
    let mut line = format!("unlade top · {process}");
    let silent = view.silent_for.filter(|time| *time >= STALE);
    let silent = silent.map(|time| format!("nothing new for {} s", time.as_secs()));
    let paused = view.is_paused.then(|| "paused".to_owned());
    let states = [silent, view.note.clone(), view.place.clone(), paused];
    for state in states.into_iter().flatten() {
        line = format!("{line} · {state}");
    }
    for count in counts {
        let longer = format!("{line} · {count}");
        if longer.width() > room {
            break;
        }
        line = longer;
    }
    Line::from(line).style(Style::new().add_modifier(Modifier::BOLD))
}

/// The panes that are shown, and where.
fn areas(body: Rect, view: &View) -> Vec<(Pane, Rect)> {
    let (columns, lines) = SEVERAL_PANES;
    if body.width < columns || body.height < lines {
        return vec![(view.pane, body)];
    }
    let lines =
        |rows: usize| u16::try_from(rows).map_or(MOST_DEVICES, |it| it.clamp(1, MOST_DEVICES));
    let devices = lines(view.now.devices.len()) + AROUND;
    let [devices, rest] =
        Layout::vertical([Constraint::Length(devices), Constraint::Min(0)]).areas(body);
    // Two panes one above the other, and two below them.
    match rest.height >= 4 * LEAST {
        true => {
            let queued = view.now.devices.iter().filter(has_queue).count();
            let mut all = all_but_devices(rest, lines(queued) + AROUND);
            all.push((Pane::Devices, devices));
            all
        }
        false => {
            let [sessions, last] =
                Layout::vertical([Constraint::Fill(1), Constraint::Fill(1)]).areas(rest);
            let third = match view.pane {
                Pane::Devices | Pane::Sessions => Pane::Receipts,
                chosen => chosen,
            };
            vec![
                (Pane::Devices, devices),
                (Pane::Sessions, sessions),
                (third, last),
            ]
        }
    }
}

/// A place for each pane but that of the devices; that of the queues wants so many lines.
fn all_but_devices(rest: Rect, queues: u16) -> Vec<(Pane, Rect)> {
    let middle = (rest.height * 2 / 5).max(2 * LEAST);
    let halves = [Constraint::Fill(1), Constraint::Fill(1)];
    let [middle, below] =
        Layout::vertical([Constraint::Length(middle), Constraint::Min(0)]).areas(rest);
    let [sessions, receipts] = Layout::vertical(halves).areas(below);
    let [left, pool] = Layout::horizontal(halves).areas(middle);
    let queues = Constraint::Length(queues.min(left.height - LEAST));
    let [queues, fallbacks] = Layout::vertical([queues, Constraint::Min(0)]).areas(left);
    vec![
        (Pane::Queues, queues),
        (Pane::Pool, pool),
        (Pane::Sessions, sessions),
        (Pane::Receipts, receipts),
        (Pane::Fallbacks, fallbacks),
    ]
}

fn draw_pane(frame: &mut Frame<'_>, area: Rect, pane: Pane, view: &View) {
    let is_chosen = pane == view.pane;
    let Rows {
        head,
        mut rows,
        empty,
    } = pane.rows(&view.now, view.before.as_ref());
    let first = if is_chosen { view.first } else { 0 };
    let title = match first {
        0 => format!(" {} ", pane.title()),
        first => format!(" {} from {} ", pane.title(), first + 1),
    };
    let mut block = Block::bordered().title(title);
    if is_chosen {
        block = block.border_style(Style::new().add_modifier(Modifier::BOLD));
        block = block.border_type(ratatui::widgets::BorderType::Thick);
    }
    if rows.is_empty() {
        frame.render_widget(Paragraph::new(empty).block(block), area);
        return;
    }
    let inner = block.inner(area);
    let fits = usize::from(inner.height.saturating_sub(1));
    if rows.len() > fits {
        rows.sort_by_key(|row| Reverse(row.busy));
    }
    let widths = fitting(&head, &rows, inner.width.into());
    let columns = widths.len();
    let below = rows.len().saturating_sub(first + fits);
    if let Some(note) = cut(&head, &rows, below, columns) {
        block = block.title_bottom(format!(" {note} "));
    }
    let cell = |text: &str, index: usize| {
        let line = Line::from(text.to_owned());
        Cell::from(match head[index].1 {
            Align::Left => line.left_aligned(),
            Align::Right => line.right_aligned(),
        })
    };
    let names = head
        .iter()
        .take(columns)
        .enumerate()
        .map(|(index, (name, _))| cell(name, index));
    let names = Row::new(names).style(Style::new().add_modifier(Modifier::DIM));
    let shown = rows.iter().skip(first).map(|row| {
        let cells = row.cells.iter().take(columns).enumerate();
        let drawn = Row::new(cells.map(|(index, text)| cell(text, index)));
        match row.is_marked {
            true => drawn.style(Style::new().add_modifier(Modifier::BOLD)),
            false => drawn,
        }
    });
    let table = Table::new(shown, widths)
        .header(names)
        .column_spacing(GAP)
        .block(block);
    frame.render_widget(table, area);
}

/// What is not shown, in words: rows below, and columns for which there is no room and which would say
/// something.
fn cut(
    head: &[(&str, Align)],
    rows: &[panes::Row],
    below: usize,
    columns: usize,
) -> Option<String> {
    let says = |column: &usize| {
        rows.iter()
            .any(|row| row.cells.get(*column).is_some_and(|it| !it.is_empty()))
    };
    let names: Vec<&str> = (columns..head.len())
        .filter(says)
        .map(|column| head[column].0)
        .collect();
    let below = (below > 0).then(|| format!("… {below} more"));
    let beside = (!names.is_empty()).then(|| format!("no room for {}", names.join(", ")));
    let notes: Vec<String> = below.into_iter().chain(beside).collect();
    (!notes.is_empty()).then(|| notes.join(" · "))
}

/// The columns that there is room for, each as wide as its widest cell, so that no number is cut; the
/// last of all has what is left.
fn fitting(head: &[(&str, Align)], rows: &[panes::Row], room: usize) -> Vec<Constraint> {
    let mut widths: Vec<usize> = head.iter().map(|(name, _)| name.width()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(&row.cells) {
            *width = (*width).max(cell.width());
        }
    }
    let last = widths.len() - 1;
    let mut taken = 0;
    let mut fitting = Vec::new();
    for (index, width) in widths.into_iter().enumerate() {
        let is_text = index == last && matches!(head[index].1, Align::Left);
        let width = match head[index].1 {
            Align::Left if !is_text => width.min(MOST_NAME),
            _ => width,
        };
        let least = if is_text {
            width.min(LEAST_TEXT)
        } else {
            width
        };
        // The first one is shown in any case.
        if index > 0 && taken + usize::from(GAP) + least > room {
            break;
        }
        taken += least + if index > 0 { usize::from(GAP) } else { 0 };
        fitting.push(match is_text {
            true => Constraint::Fill(1),
            false => Constraint::Length(u16::try_from(width).unwrap_or(u16::MAX)),
        });
    }
    fitting
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::fixture::{crowd, snapshots};
    use super::*;

    fn drawn(view: &View, columns: u16, lines: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(columns, lines)).unwrap();
        terminal.draw(|frame| draw(frame, view)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let line = |y| -> String { (0..columns).map(|x| buffer[(x, y)].symbol()).collect() };
        let lines: Vec<String> = (0..lines).map(|y| line(y).trim_end().to_owned()).collect();
        lines.join("\n") + "\n"
    }

    /// `UPDATE_GOLDEN=1` writes what is drawn; look at it before it is kept.
    #[track_caller]
    fn golden(name: &str, found: &str) {
        let folder =
            std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/commands/top/golden");
        let path = folder.join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&path, found).unwrap();
            return;
        }
        let golden = std::fs::read_to_string(&path).expect("UPDATE_GOLDEN=1 makes it");
        assert_eq!(found, golden, "{name}; UPDATE_GOLDEN=1 accepts it");
    }

    #[test]
    fn all_panes_are_drawn() {
        let (before, now) = snapshots();
        let mut view = View::new(now, Some(before));
        golden("all.txt", &drawn(&view, 110, 40));
        view.is_paused = true;
        view.place = Some("3 of 9, 2x".to_owned());
        view.note = Some("the runtime has ended".to_owned());
        view.choose(-2);
        view.scroll(1);
        golden("replayed.txt", &drawn(&view, 110, 40));
    }

    /// The line above the panes, on a screen of so many columns.
    fn header_line(view: &View, columns: u16) -> String {
        let screen = drawn(view, columns, 24);
        screen.lines().next().unwrap().to_owned()
    }

    #[test]
    fn what_must_be_seen_is_seen_on_eighty_columns() {
        let (before, now) = snapshots();
        let mut view = View::new(now, Some(before));
        view.is_paused = true;
        view.note = Some("the runtime has ended".to_owned());
        assert_eq!(
            header_line(&view, 80),
            "unlade top · process 4711 · the runtime has ended · paused · 300 sessions"
        );
        // No count is cut in the middle.
        assert_eq!(
            header_line(&view, 72),
            "unlade top · process 4711 · the runtime has ended · paused"
        );
        view.note = None;
        view.is_paused = false;
        view.now.sessions_open = 1;
        assert_eq!(
            header_line(&view, 80),
            "unlade top · process 4711 · 1 session · 3 tickets · 5 programs"
        );
    }

    #[test]
    fn what_is_old_is_said_to_be() {
        let (before, now) = snapshots();
        let mut view = View::new(now, Some(before));
        view.silent_for = Some(Duration::from_millis(1900));
        assert!(!header_line(&view, 80).contains("nothing new"));
        view.silent_for = Some(Duration::from_millis(7400));
        assert_eq!(
            header_line(&view, 80),
            "unlade top · process 4711 · nothing new for 7 s · 300 sessions · 3 tickets"
        );
    }

    #[test]
    fn a_small_screen_has_the_chosen_pane() {
        let (before, now) = snapshots();
        let mut view = View::new(now, Some(before));
        golden("small.txt", &drawn(&view, 70, 10));
        view.choose(1);
        golden("small-queues.txt", &drawn(&view, 70, 10));
        // However small it becomes.
        for (columns, lines) in [(1, 1), (3, 2), (10, 3), (72, 24), (72, 37), (300, 100)] {
            drawn(&view, columns, lines);
        }
    }

    #[test]
    fn who_is_busy_is_seen_and_what_is_cut_off_is_told() {
        let (before, now) = crowd();
        let mut view = View::new(now, Some(before));
        for (columns, lines, name) in [
            (80, 24, "crowd-80x24.txt"),
            (100, 30, "crowd-100x30.txt"),
            (110, 40, "crowd-110x40.txt"),
        ] {
            let screen = drawn(&view, columns, lines);
            assert!(screen.contains("cuda:9"), "the busiest of all: {screen}");
            assert!(screen.contains(" … 4 more "), "devices: {screen}");
            golden(name, &screen);
        }
        // On a small terminal, and to the last row.
        let screen = drawn(&view, 70, 10);
        assert!(
            screen.contains("cuda:9") && screen.contains(" … 7 more "),
            "{screen}"
        );
        view.scroll(7);
        let screen = drawn(&view, 70, 10);
        assert!(!screen.contains("more"), "{screen}");
        // Where all are seen they stay where they are.
        let screen = drawn(&view, 110, 200);
        let at = |name: &str| screen.find(name).unwrap();
        assert!(at("cuda:2") < at("cuda:8"), "{screen}");
    }

    #[test]
    fn simulated_time_of_a_session_is_said_to_be() {
        let (_, mut now) = snapshots();
        now.sessions[0].device_clock = Some("virtual".to_owned());
        let text = super::super::plain::text(&now, None);
        let of = |label: &str| text.lines().find(|line| line.starts_with(label)).unwrap();
        assert!(of("query 17  ").contains("  100 ms virtual  "), "{text}");
        assert!(!of("runtime  ").contains("virtual"), "{text}");
    }

    #[test]
    fn a_runtime_that_nobody_observed_has_no_rates() {
        let (_, mut now) = snapshots();
        now.observed = false;
        now.receipts.clear();
        now.fallbacks.clear();
        now.devices.truncate(1);
        now.sessions.clear();
        now.sessions_open = 0;
        golden("unobserved.txt", &drawn(&View::new(now, None), 110, 30));
    }

    #[test]
    fn panes_are_chosen_in_a_circle_and_scrolled_within_bounds() {
        let (before, now) = snapshots();
        let mut view = View::new(now, Some(before));
        for _ in 0..Pane::ALL.len() {
            view.choose(1);
        }
        assert_eq!(view.pane, Pane::Devices);
        view.scroll(100);
        assert_eq!(view.first, 2, "the last of three devices");
        view.scroll(-100);
        assert_eq!(view.first, 0);
        view.choose(-1);
        assert_eq!(view.pane, Pane::Fallbacks);
    }
}
