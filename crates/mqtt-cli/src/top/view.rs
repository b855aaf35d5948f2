//! How [`State`] looks on a terminal. It draws, and decides nothing.

use ratatui::{
    Frame,
    layout::{Alignment, Constraint, Layout, Rect},
    style::{Color, Modifier, Style, Stylize},
    text::{Line, Span},
    widgets::{Block, Cell, Clear, Paragraph, Row, Sparkline, Table, TableState},
};

use super::{
    figures::{Rates, as_f64},
    state::{Mode, Sort, State, View},
};
use crate::admin::printable;

const HELP: &str = "\
Tab, t      clients, topics
<  >  s     sort by another column
arrows, jk  select
d, Delete   disconnect the selected client
/           search; Esc shows all again
p, space    pause
?           this help
q, Ctrl-C   quit";

pub(super) fn draw(frame: &mut Frame<'_>, state: &State) {
    let [head, rates, gauges, drops, list, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(3),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(3),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_head(frame, head, state);
    draw_rates(frame, rates, state);
    frame.render_widget(gauges_line(state), gauges);
    frame.render_widget(drops_line(state), drops);
    match state.view {
        View::Clients => draw_clients(frame, list, state),
        View::Topics => draw_topics(frame, list, state),
    }
    frame.render_widget(foot_line(state), foot);
    if state.mode == Mode::Help {
        draw_help(frame);
    }
}

fn draw_head(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let version = state.figures.version.as_deref().map(printable).unwrap_or_default();
    let left = Line::from(vec![
        " gmqtt top ".bold().reversed(),
        format!(" {version} ").into(),
        printable(&state.source).dim(),
    ]);
    frame.render_widget(left, area);
    if state.paused {
        frame.render_widget(Line::from(" PAUSED ".reversed()).alignment(Alignment::Right), area);
    }
}

fn draw_rates(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let figures = &state.figures;
    let rows = [
        ("in", &figures.received, Some(&figures.bytes_received), Color::Green),
        ("out", &figures.sent, Some(&figures.bytes_sent), Color::Blue),
        ("dropped", &figures.dropped, None, Color::Red),
    ];
    for ((name, messages, bytes, color), line) in rows.into_iter().zip(area.rows()) {
        let [text, spark] = Layout::horizontal([Constraint::Length(52), Constraint::Min(0)]).areas(line);
        let bytes = bytes.map(|bytes| format!("{}/s", bytes_or_dash(bytes.now()))).unwrap_or_default();
        let total = messages.total.map(|total| format!("{} so far", grouped(total))).unwrap_or_default();
        let words = vec![
            Span::styled(format!(" {name:8}"), Style::new().fg(color)),
            format!("{:>10}", format!("{}/s", rate_or_dash(messages))).bold(),
            format!("{bytes:>14}").into(),
            format!("{total:>18}").dim(),
        ];
        frame.render_widget(Line::from(words), text);
        let width = usize::from(spark.width);
        let newest = messages.per_second.iter().rev().take(width).rev();
        let values: Vec<u64> = newest.map(|&rate| whole(rate)).collect();
        frame.render_widget(Sparkline::default().data(&values).style(Style::new().fg(color)), spark);
    }
}

fn gauges_line(state: &State) -> Line<'static> {
    let mut words = vec![Span::raw(" ")];
    for &(name, value) in &state.figures.gauges {
        let value = if name.ends_with("bytes") { bytes(as_f64(value)) } else { grouped(value) };
        words.extend([format!("{name} ").dim(), value.bold(), "   ".into()]);
    }
    words.into()
}

fn drops_line(state: &State) -> Line<'static> {
    let mut words = vec![Span::raw(" ")];
    for drops in state.figures.drops.iter().filter(|drops| drops.rates.total > Some(0)) {
        let total = grouped(drops.rates.total.unwrap_or_default());
        let text = format!("{} {}/s ({total})   ", drops.reason, rate_or_dash(&drops.rates));
        let is_now = drops.rates.now().is_some_and(|rate| rate > 0.0);
        words.push(if is_now { text.red() } else { text.dim() });
    }
    if words.len() == 1 && !state.figures.drops.is_empty() {
        words.push("nothing was dropped".dim());
    }
    words.into()
}

fn draw_clients(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let clients = state.clients();
    let rows = clients.iter().map(|client| {
        let numbers = [
            grouped(client.inflight),
            grouped(client.queued),
            bytes(as_f64(client.bytes)),
            grouped(client.dropped),
        ];
        let texts =
            [&client.client_id, &client.user, &client.address].map(|text| Cell::from(printable(text)));
        let row = Row::new(texts.into_iter().chain(numbers.into_iter().map(right)));
        if client.queued > 0 { row.style(Style::new().fg(Color::Yellow)) } else { row }
    });
    let heads = [
        ("CLIENT", Some(Sort::ClientId)),
        ("USER", None),
        ("ADDRESS", None),
        ("INFLIGHT", Some(Sort::Inflight)),
        ("WAITING", Some(Sort::Queued)),
        ("BYTES", Some(Sort::Bytes)),
        ("DROPPED", Some(Sort::Dropped)),
    ];
    let cells = heads.into_iter().enumerate().map(|(index, (name, sort))| {
        let text = if sort == Some(state.sort) { format!("{name}▾") } else { name.to_owned() };
        if index < 3 { Cell::from(text) } else { right(text) }
    });
    let widths = [
        Constraint::Min(18),
        Constraint::Length(12),
        Constraint::Length(22),
        Constraint::Length(9),
        Constraint::Length(9),
        Constraint::Length(10),
        Constraint::Length(11),
    ];
    let empty = if state.search.is_empty() { "nobody is connected" } else { "nobody is called like this" };
    draw_table(frame, area, state, Row::new(cells), rows.collect(), &widths, empty);
}

fn draw_topics(frame: &mut Frame<'_>, area: Rect, state: &State) {
    let topics = state.topics();
    let rows = topics.iter().take(1_000).map(|(topic, row)| {
        let numbers =
            [rate(row.per_second), format!("{}/s", bytes(row.bytes_per_second)), grouped(row.messages)];
        Row::new(std::iter::once(Cell::from(printable(topic))).chain(numbers.into_iter().map(right)))
    });
    let heads = std::iter::once(Cell::from("TOPIC"))
        .chain(["MESSAGES/S▾", "BYTES", "SEEN"].map(|name| right(name.into())));
    let widths =
        [Constraint::Min(24), Constraint::Length(12), Constraint::Length(13), Constraint::Length(11)];
    draw_table(
        frame,
        area,
        state,
        Row::new(heads),
        rows.collect(),
        &widths,
        "nothing is published at the moment",
    );
}

fn draw_table(
    frame: &mut Frame<'_>,
    area: Rect,
    state: &State,
    heads: Row<'_>,
    rows: Vec<Row<'_>>,
    widths: &[Constraint],
    empty: &str,
) {
    if rows.is_empty() {
        frame.render_widget(Paragraph::new(format!("\n {empty}")).dim(), area);
        return;
    }
    let selected = state.selected.min(rows.len() - 1);
    let table = Table::new(rows, widths)
        .header(heads.style(Style::new().add_modifier(Modifier::REVERSED)))
        .row_highlight_style(Style::new().add_modifier(Modifier::REVERSED));
    frame.render_stateful_widget(table, area, &mut TableState::default().with_selected(selected));
}

fn foot_line(state: &State) -> Line<'static> {
    match (&state.mode, &state.notice) {
        (Mode::Search, _) => {
            Line::from(vec![" search: ".bold(), printable(&state.search).into(), "▏".into()])
        }
        (Mode::Confirm(client_id), _) => {
            let question =
                format!(" disconnect {}? its Will is published (y / any other key) ", printable(client_id));
            Line::from(question.reversed())
        }
        (_, Some(notice)) => Line::from(format!(" {} ", printable(notice)).yellow()),
        _ if !state.search.is_empty() => Line::from(vec![
            " only with ".dim(),
            printable(&state.search).bold(),
            " in it; Esc shows all".dim(),
        ]),
        _ if state.has_api => {
            " q quit   Tab topics/clients   < > sort   / search   d disconnect   p pause   ? help"
                .dim()
                .into()
        }
        _ => " q quit   / search   p pause   ? help".dim().into(),
    }
}

fn draw_help(frame: &mut Frame<'_>) {
    let area = frame.area().centered(Constraint::Length(60), Constraint::Length(10));
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(HELP).block(Block::bordered().title(" keys ")), area);
}

fn right(text: String) -> Cell<'static> {
    Cell::from(Line::from(text).alignment(Alignment::Right))
}

fn rate_or_dash(rates: &Rates) -> String {
    rates.now().map_or_else(|| "-".to_owned(), rate)
}

fn bytes_or_dash(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), bytes)
}

#[allow(clippy::cast_sign_loss, reason = "nothing grows by less than 0")]
fn whole(rate: f64) -> u64 {
    rate.round() as u64
}

fn rate(value: f64) -> String {
    if value >= 10.0 || value.fract() == 0.0 { grouped(whole(value)) } else { format!("{value:.1}") }
}

fn bytes(mut value: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut units = UNITS.iter();
    let mut unit = units.next().unwrap_or(&"B");
    while value >= 1024.0
        && let Some(next) = units.next()
    {
        value /= 1024.0;
        unit = next;
    }
    if *unit == "B" { format!("{value:.0} B") } else { format!("{value:.1} {unit}") }
}

/// With a comma at each thousand.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};
    use serde_json::json;

    use super::*;

    fn screen(state: &State, width: u16, height: u16) -> String {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal.draw(|frame| draw(frame, state)).unwrap();
        let buffer = terminal.backend().buffer();
        let rows = (0..height).map(|y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>());
        rows.map(|row| row.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }

    fn state() -> State {
        let mut state = State::new("http://127.0.0.1:18083/".into(), true);
        state.figures.version = Some("0.1.0".into());
        state.figures.add_history(&json!({
            "at_ms": [1000, 2000], "messages_received": [0, 1234], "messages_sent": [0, 5], "bytes_received": [0, 2048],
            "bytes_sent": [0, 0], "connections": [2, 2], "queued_bytes": [0, 1_048_576],
            "dropped": [[0, 7], [0, 0]], "drop_reasons": ["queue_full", "refused"],
        }));
        state.figures.set_clients(&json!({"list": [
            {"client_id": "slow", "username": "panels", "remote_addr": "127.0.0.1:5", "msg_queue_len": 2048, "msg_queue_bytes": 1_048_576},
            {"client_id": "\u{1b}[31mred", "remote_addr": "127.0.0.1:6"},
        ]}));
        state
    }

    #[test]
    fn the_slowest_client_and_the_reason_of_a_drop_are_seen_at_once() {
        let screen = screen(&state(), 110, 12);
        for expected in [
            " gmqtt top  0.1.0 http://127.0.0.1:18083/",
            "in         1,234/s     2.0 KiB/s      1,234 so far",
            "connections 2   waiting bytes 1.0 MiB",
            "queue_full 7/s (7)",
            "BYTES▾",
            "slow",
            "2,048    1.0 MiB",
        ] {
            assert!(screen.contains(expected), "{expected:?} is not in\n{screen}");
        }
        assert!(screen.contains("\\u{1b}[31mred") && !screen.contains('\u{1b}'), "{screen}");
    }

    #[test]
    fn topics_come_with_the_busiest_first() {
        let mut state = state();
        state.view = View::Topics;
        state.figures.add_topics(&json!({"topics": [
            {"topic": "quiet", "messages": 1, "bytes": 1}, {"topic": "busy", "messages": 100, "bytes": 5000},
        ]}));
        let screen = screen(&state, 80, 12);
        assert!(screen.find("busy").unwrap() < screen.find("quiet").unwrap(), "{screen}");
    }

    #[test]
    fn every_size_and_mode_can_be_drawn() {
        let mut state = state();
        for mode in [Mode::Normal, Mode::Search, Mode::Help, Mode::Confirm("slow".into())] {
            state.mode = mode;
            for (width, height) in [(1, 1), (20, 5), (80, 24), (300, 100)] {
                screen(&state, width, height);
            }
        }
        state.mode = Mode::Confirm("slow".into());
        assert!(screen(&state, 100, 12).contains("disconnect slow?"));
    }

    #[test]
    fn numbers_are_short_and_readable() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([0.0, 1023.0, 1536.0, 3e12].map(bytes), ["0 B", "1023 B", "1.5 KiB", "2.7 TiB"]);
        assert_eq!([0.0, 0.25, 9.9, 12.4].map(rate), ["0", "0.2", "9.9", "12"]);
    }
}
