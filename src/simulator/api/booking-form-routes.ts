/** What the booking form of a salon asks: free days and hours, and whether an hour can be had. No user is needed. */
import { z } from 'zod';
import { parseWall, type Wall } from '../../domain/time.ts';
import { offsetMinutes, offsetText } from '../dates.ts';
import type { JsonObject } from '../webhook.ts';
import { type Answer, Refusal } from './answers.ts';
import { type Call, idParam, type Route } from './route.ts';
import { daysFrom, isFreeAt, type Slot, slotsOf } from './slots.ts';
import { bookedServices, durationAsked, momentOf, staffMember } from './wishes.ts';

export const BOOKING_FORM_ROUTES: readonly Route[] = [
  {
    method: 'GET',
    path: '/api/v1/book_times/:company/:staff/:date',
    operation: 'book_times',
    needs: 'partner',
    handle: times,
  },
  {
    method: 'GET',
    path: '/api/v1/book_dates/:company',
    operation: 'book_dates',
    needs: 'partner',
    handle: dates,
  },
  {
    method: 'GET',
    path: '/api/v1/book_staff_seances/:company/:staff',
    operation: 'book_staff_seances',
    needs: 'partner',
    handle: seances,
  },
  {
    method: 'GET',
    path: '/api/v1/timetable/seances/:company/:staff/:date',
    operation: 'timetable',
    needs: 'records',
    handle: timetable,
  },
  {
    method: 'POST',
    path: '/api/v1/book_check/:company',
    operation: 'book_check',
    needs: 'partner',
    handle: check,
  },
];

/** How far ahead the form offers anything. */
const DAYS_AHEAD = 30;

function times(call: Call): Answer {
  const seconds = durationAsked(call);
  return { data: freeSlots(call, dateParam(call), seconds).map(slot => slotBody(slot, seconds, call)) };
}

function dates(call: Call): Answer {
  const seconds = durationAsked(call);
  const { branch, query, now } = call;
  const { zone, cast } = branch.salon();
  const asked = Number(query.get('staff_id') ?? 0);
  const staff = cast.staff.filter(({ id }) => asked === 0 || id === asked);
  const isBookable = (day: string) =>
    staff.some(({ id }) => slotsOf(branch, id, day, seconds, now).some(slot => slot.free));
  const days = daysFrom(now, zone, DAYS_AHEAD);
  return { data: { booking_dates: days.filter(isBookable), working_dates: days } };
}

/** Those of the first day that has any. */
function seances(call: Call): Answer {
  const seconds = durationAsked(call);
  const days = daysFrom(call.now, call.branch.salon().zone, DAYS_AHEAD);
  for (const day of days) {
    const free = freeSlots(call, day, seconds);
    if (free.length === 0) continue;
    return { data: { seance_date: day, seances: free.map(slot => slotBody(slot, seconds, call)) } };
  }
  return { data: { seance_date: null, seances: [] } };
}

function timetable(call: Call): Answer {
  const { branch, now } = call;
  const slots = slotsOf(branch, staffMember(branch, idParam(call, 'staff')), dateParam(call), 1800, now);
  return { data: slots.map(({ wall, free }) => ({ time: timeOf(wall), is_free: free })) };
}

function freeSlots(call: Call, day: string, seconds: number): readonly Slot[] {
  const staffId = staffMember(call.branch, idParam(call, 'staff'));
  return slotsOf(call.branch, staffId, day, seconds, call.now).filter(slot => slot.free);
}

/** `datetime` is an ISO text, or seconds since 1970 in some builds. */
function slotBody({ wall, startsAt }: Slot, seconds: number, { branch, quirks }: Call): JsonObject {
  const iso = `${wall}${offsetText(offsetMinutes(startsAt, branch.salon().zone), true)}`;
  const datetime = quirks.bodies.has('loose_types') ? startsAt / 1000 : iso;
  return { time: timeOf(wall), seance_length: seconds, datetime };
}

function timeOf(wall: Wall): string {
  return wall.slice(11, 16).replace(/^0/, '');
}

function dateParam({ params }: Call): string {
  const wall = parseWall(`${params.date} 00:00`);
  if (wall === undefined) throw new Refusal(422, 'Not a date');
  return wall.slice(0, 10);
}

const checked = z.object({
  appointments: z
    .array(
      z.object({
        staff_id: z.coerce.number(),
        services: z.array(z.coerce.number()),
        datetime: z.union([z.string(), z.number()]),
      }),
    )
    .min(1),
});

/** 201 when each of them can be had; 433 when somebody else has the hour. */
function check({ branch, body, now }: Call): Answer {
  const { data } = checked.safeParse(body);
  if (data === undefined)
    throw new Refusal(422, 'appointments with staff_id, services, datetime are expected');
  for (const { staff_id, services, datetime } of data.appointments) {
    const booked = bookedServices(
      branch,
      services.map(id => ({ id })),
    );
    const seconds = booked.reduce((sum, { offered }) => sum + offered.durationSeconds, 0);
    const { startsAt } = momentOf(datetime, branch);
    if (startsAt <= now) throw new Refusal(422, 'The time is over');
    if (!isFreeAt(branch, staffMember(branch, staff_id), startsAt, seconds)) throw taken();
  }
  return { status: 201, data: [] };
}

export function taken(): Refusal {
  return new Refusal(433, 'The time is taken');
}
