//! [`State`]: what is shown, and what a key does to it. No terminal, no network.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    figures::{ClientRow, Figures, TopicRow},
    source::Wanted,
};

/// What `gmqtt top` shows, and how.
pub(super) struct State {
    pub(super) source: String,
    pub(super) figures: Figures,
    pub(super) view: View,
    pub(super) mode: Mode,
    pub(super) sort: Sort,
    /// Only what has this in its name.
    pub(super) search: String,
    pub(super) selected: usize,
    pub(super) paused: bool,
    /// What went wrong, or was done, last.
    pub(super) notice: Option<String>,
    /// Whether clients are known, and can be disconnected.
    pub(super) has_api: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    Clients,
    Topics,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Normal,
    Search,
    Help,
    /// Asks before it disconnects this client.
    Confirm(String),
}

/// What clients are sorted by, the most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Bytes,
    Queued,
    Inflight,
    Dropped,
    ClientId,
}

/// What a key asks of the world.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Order {
    Quit,
    Disconnect(String),
    /// Something else is to be asked for from here on: the sorting, the view or the search has changed.
    AskAgain,
}

impl Sort {
    pub(super) const ALL: [Self; 5] =
        [Self::Bytes, Self::Queued, Self::Inflight, Self::Dropped, Self::ClientId];

    /// As the API calls it.
    pub(super) fn field(self) -> &'static str {
        match self {
            Self::Bytes => "msg_queue_bytes",
            Self::Queued => "msg_queue_len",
            Self::Inflight => "inflight_len",
            Self::Dropped => "msg_queue_dropped",
            Self::ClientId => "client_id",
        }
    }

    fn turned(self, steps: usize) -> Self {
        let place = Self::ALL.iter().position(|sort| *sort == self).unwrap_or(0);
        Self::ALL.get((place + steps) % Self::ALL.len()).copied().unwrap_or(self)
    }
}

impl State {
    pub(super) fn new(source: String, has_api: bool) -> Self {
        Self {
            source,
            figures: Figures::default(),
            view: if has_api { View::Clients } else { View::Topics },
            mode: Mode::Normal,
            sort: Sort::Bytes,
            search: String::new(),
            selected: 0,
            paused: false,
            notice: None,
            has_api,
        }
    }

    /// What is to be asked for.
    pub(super) fn wanted(&self) -> Wanted {
        Wanted { view: self.view, sort: self.sort, search: self.search.clone() }
    }

    /// The clients that are shown, in their order. What came before the search has changed may have others, too.
    pub(super) fn clients(&self) -> Vec<&ClientRow> {
        self.figures.clients.iter().filter(|client| client.client_id.contains(&self.search)).collect()
    }

    /// The topics that are shown, the busiest first.
    pub(super) fn topics(&self) -> Vec<(&String, &TopicRow)> {
        let mut topics: Vec<_> =
            self.figures.topics.iter().filter(|(topic, _)| topic.contains(&self.search)).collect();
        topics.sort_by(|(a_name, a), (b_name, b)| {
            b.per_second.total_cmp(&a.per_second).then_with(|| a_name.cmp(b_name))
        });
        topics
    }

    pub(super) fn handle_key(&mut self, key: KeyEvent) -> Option<Order> {
        if key.modifiers.contains(KeyModifiers::CONTROL) && key.code == KeyCode::Char('c') {
            return Some(Order::Quit);
        }
        self.notice = None;
        match std::mem::replace(&mut self.mode, Mode::Normal) {
            Mode::Normal => self.handle_normal(key.code),
            Mode::Help => None,
            Mode::Confirm(client_id) => {
                matches!(key.code, KeyCode::Char('y' | 'Y')).then_some(Order::Disconnect(client_id))
            }
            Mode::Search => self.handle_search(key.code),
        }
    }

    fn handle_normal(&mut self, key: KeyCode) -> Option<Order> {
        match key {
            KeyCode::Char('q') | KeyCode::F(10) => return Some(Order::Quit),
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.mode = Mode::Help,
            KeyCode::Char('/') | KeyCode::F(3) => {
                self.mode = Mode::Search;
                return Some(self.search_for(String::new()));
            }
            KeyCode::Esc => return Some(self.search_for(String::new())),
            KeyCode::Char('p' | ' ') => self.paused = !self.paused,
            KeyCode::Tab | KeyCode::Char('t') if self.has_api => {
                self.view = if self.view == View::Clients { View::Topics } else { View::Clients };
                self.selected = 0;
                return Some(Order::AskAgain);
            }
            KeyCode::Right | KeyCode::Char('>' | 's') => return Some(self.sort_by(1)),
            KeyCode::Left | KeyCode::Char('<') => return Some(self.sort_by(Sort::ALL.len() - 1)),
            KeyCode::Down | KeyCode::Char('j') => self.select(1),
            KeyCode::Up | KeyCode::Char('k') => self.select(-1),
            KeyCode::PageDown => self.select(10),
            KeyCode::PageUp => self.select(-10),
            KeyCode::Home => self.selected = 0,
            KeyCode::Char('d') | KeyCode::Delete | KeyCode::F(9) if self.view == View::Clients => {
                if let Some(client) = self.clients().get(self.selected) {
                    self.mode = Mode::Confirm(client.client_id.clone());
                }
            }
            _ => {}
        }
        None
    }

    fn handle_search(&mut self, key: KeyCode) -> Option<Order> {
        let mut search = self.search.clone();
        match key {
            KeyCode::Enter => return None,
            KeyCode::Esc => return Some(self.search_for(String::new())),
            KeyCode::Backspace => drop(search.pop()),
            KeyCode::Char(c) if search.len() < 256 => search.push(c),
            _ => {}
        }
        self.mode = Mode::Search;
        Some(self.search_for(search))
    }

    fn search_for(&mut self, search: String) -> Order {
        self.search = search;
        self.selected = 0;
        Order::AskAgain
    }

    fn sort_by(&mut self, steps: usize) -> Order {
        self.sort = self.sort.turned(steps);
        Order::AskAgain
    }

    fn select(&mut self, by: isize) {
        let rows = match self.view {
            View::Clients => self.clients().len(),
            View::Topics => self.topics().len(),
        };
        self.selected = self.selected.saturating_add_signed(by).min(rows.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn press(state: &mut State, keys: &str) -> Option<Order> {
        keys.chars().fold(None, |_, key| state.handle_key(KeyCode::Char(key).into()))
    }

    fn with_clients() -> State {
        let mut state = State::new("here".into(), true);
        state.figures.set_clients(&json!({"list": [{"client_id": "slow"}, {"client_id": "fast"}]}));
        state
    }

    #[test]
    fn a_client_is_disconnected_only_after_a_yes() {
        let mut state = with_clients();
        assert_eq!(press(&mut state, "jd"), None);
        assert_eq!(state.mode, Mode::Confirm("fast".into()));
        assert_eq!(press(&mut state, "n"), None);
        assert_eq!(press(&mut state, "dy"), Some(Order::Disconnect("fast".into())));
        assert_eq!(state.mode, Mode::Normal);
    }

    #[test]
    fn search_narrows_and_escape_ends_it() {
        let mut state = with_clients();
        press(&mut state, "/low");
        assert_eq!(state.clients().len(), 1);
        assert_eq!(press(&mut state, "q"), Some(Order::AskAgain), "a letter of the search");
        assert_eq!((&*state.search, &*state.wanted().search), ("lowq", "lowq"));
        assert_eq!(state.handle_key(KeyCode::Esc.into()), Some(Order::AskAgain));
        assert_eq!((state.clients().len(), &state.mode), (2, &Mode::Normal));
        assert_eq!(press(&mut state, "q"), Some(Order::Quit));
    }

    #[test]
    fn sorting_goes_round() {
        let mut state = with_clients();
        for _ in 0..Sort::ALL.len() {
            assert_eq!(press(&mut state, ">"), Some(Order::AskAgain));
        }
        assert_eq!(state.sort, Sort::Bytes);
        press(&mut state, "<");
        assert_eq!(state.sort, Sort::ClientId);
    }

    #[test]
    fn the_selection_stays_among_the_rows() {
        let mut state = with_clients();
        press(&mut state, "jjjj");
        assert_eq!(state.selected, 1);
        press(&mut state, "kkkk");
        assert_eq!(state.selected, 0);
    }
}
