/** The few words of a conversation with the bot. What tells of a visit is a template; see `templates/`. */
import type { Refusal } from './answer.ts';
import type { Locale } from './locale.ts';
import type { Role } from './team.ts';

export type Phrases = {
  readonly confirm: string;
  readonly cancel: string;
  readonly move: string;
  /** The same for a visit of several records. */
  readonly confirmAll: string;
  readonly cancelAll: string;
  /** Before a link to a page with these. */
  readonly confirmOrCancel: string;
  readonly reallyCancel: string;
  readonly keep: string;
  readonly shareNumber: string;
  /** To one who opened the salon's link. */
  welcome(title: string): string;
  /** The same where no number can be shared. */
  welcomeByLink(title: string): string;
  readonly linked: string;
  readonly foreignContact: string;
  readonly noInvite: string;
  /** To one of the team who opened a link of their own. */
  joined(role: Role, title: string): string;
  readonly stopped: string;
  readonly resumed: string;
  /** To words that nobody reads. */
  notRead(phone: string): string;
  /** To a yes or a no where there is no visit that it could be about. */
  nothingToAnswer(phone: string): string;
  askCancel(when: string): string;
  /** The same where there are no buttons. */
  askCancelByWord(when: string): string;
  /** To an answer that may mean either. */
  askCancelAgain(when: string): string;
  /** Where a visit can be moved; undefined: nowhere but at the salon. */
  moveBy(link: string | undefined, phone: string): string;
  /** That they want to move it was told to the salon. */
  movePassedOn(when: string, phone: string): string;
  readonly kept: string;
  confirmed(when: string): string;
  cancelled(when: string): string;
  refused(because: Refusal): string;
  failed(phone: string): string;
  readonly working: string;
  readonly page: {
    readonly visit: string;
    readonly stop: string;
    readonly stopped: string;
    /** To one of whom we know no more who they are. */
    notStopped(phone: string): string;
    readonly wrong: string;
    readonly tooOften: string;
    /** The fault is ours, for the moment. */
    readonly away: string;
  };
};

export const PHRASES: Readonly<Record<Locale, Phrases>> = {
  ru: {
    confirm: 'Подтверждаю',
    cancel: 'Отменить запись',
    move: 'Перенести',
    confirmAll: 'Подтверждаю весь визит',
    cancelAll: 'Отменить весь визит',
    confirmOrCancel: 'Подтвердить, перенести или отменить',
    reallyCancel: 'Да, отменить',
    keep: 'Нет, приду',
    shareNumber: 'Поделиться номером',
    welcome: title =>
      `${title}: здесь будут сообщения о ваших записях. Чтобы мы узнали вас, нажмите «Поделиться номером» под строкой ввода.`,
    welcomeByLink: title =>
      `${title}: здесь могут быть сообщения о ваших записях. Чтобы мы узнали вас, попросите у салона личную ссылку на этот чат.`,
    linked: 'Готово: сообщения о ваших записях придут сюда. Чтобы их не получать, напишите «стоп».',
    foreignContact: 'Это номер другого человека. Нажмите «Поделиться номером», чтобы отправить свой.',
    noInvite: 'Откройте бота по ссылке или QR-коду вашего салона: так мы узнаем, о каких записях писать.',
    joined: (role, title) =>
      `${title}: сюда будут приходить сообщения ${role === 'staff' ? 'о записях к вам' : 'о записях салона'}. Чтобы их не получать, напишите «стоп».`,
    stopped: 'Больше не пишем. Чтобы снова получать сообщения о записях, напишите «возобновить».',
    resumed: 'Сообщения о записях снова будут приходить сюда.',
    notRead: phone => `Сообщения здесь никто не читает.${phone === '' ? '' : ` Телефон салона: ${phone}.`}`,
    nothingToAnswer: phone =>
      `Сейчас отвечать не на что: предстоящей записи, о которой мы здесь писали, нет.${phone === '' ? '' : ` Телефон салона: ${phone}.`}`,
    askCancel: when => `Отменить запись на ${when}?`,
    askCancelByWord: when => `Отменить запись на ${when}? Ответьте: да, отменить`,
    askCancelAgain: when =>
      `Чтобы отменить запись на ${when}, ответьте: да, отменить. Чтобы она осталась: нет`,
    moveBy: (link, phone) =>
      link === undefined
        ? `Перенести запись может только салон.${phone === '' ? '' : ` Позвоните: ${phone}.`}`
        : `Перенести запись можно здесь: ${link}`,
    movePassedOn: (when, phone) =>
      `Передали администратору салона, что вы хотите перенести запись (${when}). Пока она остаётся в силе.${phone === '' ? '' : ` Телефон салона: ${phone}.`}`,
    kept: 'Хорошо, запись остаётся.',
    confirmed: when => `Спасибо, ждём вас: ${when}.`,
    cancelled: when => `Запись на ${when} отменена.`,
    refused: because =>
      ({
        over: 'Этот визит уже начался или прошёл.',
        moved: 'Время этой записи изменилось: новое придёт отдельным сообщением.',
        gone: 'Этой записи больше нет.',
      })[because],
    failed: phone =>
      `Не получилось: система салона не отвечает или не позволяет.${phone === '' ? '' : ` Позвоните: ${phone}.`}`,
    working: 'Записываем у салона…',
    page: {
      visit: 'Ваша запись',
      stop: 'Не присылать сюда сообщений',
      stopped: 'Больше не пишем на этот адрес.',
      notStopped: phone =>
        `Не получилось: мы не знаем, кому ушло это письмо. Скажите салону, что не хотите писем.${phone === '' ? '' : ` Телефон: ${phone}.`}`,
      wrong: 'Ссылка неполная или устарела. Откройте её из письма ещё раз.',
      tooOften: 'Слишком часто. Подождите минуту и откройте ссылку ещё раз.',
      away: 'У нас временная неполадка. Откройте ссылку ещё раз через минуту.',
    },
  },
  en: {
    confirm: 'I will come',
    cancel: 'Cancel the visit',
    move: 'Move it',
    confirmAll: 'I will come to all of it',
    cancelAll: 'Cancel the whole visit',
    confirmOrCancel: 'Confirm, move or cancel',
    reallyCancel: 'Yes, cancel',
    keep: 'No, I will come',
    shareNumber: 'Share my number',
    welcome: title =>
      `${title}: news of your visits will come here. So that we know you, press “Share my number” below the input line.`,
    welcomeByLink: title =>
      `${title}: news of your visits can come here. So that we know you, ask the salon for your own link to this chat.`,
    linked: 'Done: news of your visits will come here. To stop it, write “stop”.',
    foreignContact: 'This is somebody else’s number. Press “Share my number” to send your own.',
    noInvite:
      'Open the bot by the link or QR code of your salon, so that we know which visits to tell you of.',
    joined: (role, title) =>
      `${title}: news of ${role === 'staff' ? 'your visits as a specialist' : 'the salon’s visits'} will come here. To stop it, write “stop”.`,
    stopped: 'We write no more. To hear of your visits again, write “resume”.',
    resumed: 'News of your visits will come here again.',
    notRead: phone => `Nobody reads messages here.${phone === '' ? '' : ` The salon’s phone: ${phone}.`}`,
    nothingToAnswer: phone =>
      `There is nothing to answer just now: no visit to come of which we have told you here.${phone === '' ? '' : ` The salon’s phone: ${phone}.`}`,
    askCancel: when => `Cancel the visit on ${when}?`,
    askCancelByWord: when => `Cancel the visit on ${when}? Answer: yes, cancel`,
    askCancelAgain: when => `To cancel the visit on ${when}, answer: yes, cancel. To keep it: no`,
    moveBy: (link, phone) =>
      link === undefined
        ? `Only the salon can move the visit.${phone === '' ? '' : ` Please call ${phone}.`}`
        : `You can move the visit here: ${link}`,
    movePassedOn: (when, phone) =>
      `The salon has been told that you want to move the visit (${when}). Until then it stands.${phone === '' ? '' : ` The salon’s phone: ${phone}.`}`,
    kept: 'Fine, the visit stands.',
    confirmed: when => `Thank you, see you on ${when}.`,
    cancelled: when => `The visit on ${when} is cancelled.`,
    refused: because =>
      ({
        over: 'This visit has begun or is over.',
        moved: 'The time of this visit has changed: the new one comes in a message of its own.',
        gone: 'This visit does not exist any more.',
      })[because],
    failed: phone =>
      `It did not work: the salon’s system does not answer or does not allow it.${phone === '' ? '' : ` Please call ${phone}.`}`,
    working: 'Telling the salon…',
    page: {
      visit: 'Your visit',
      stop: 'Send no more messages here',
      stopped: 'We write to this address no more.',
      notStopped: phone =>
        `It did not work: we do not know whom this e-mail went to. Please tell the salon that you want none.${phone === '' ? '' : ` Its phone: ${phone}.`}`,
      wrong: 'The link is incomplete or too old. Open it from the e-mail again.',
      tooOften: 'Too often. Wait a minute and open the link again.',
      away: 'Something is wrong on our side for the moment. Open the link again in a minute.',
    },
  },
};
