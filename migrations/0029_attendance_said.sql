-- Since when a booking has been marked (attendance -1 or 1): {"value": -1, "after": 1767000000000, "versions": [1767003600000]},
-- see src/domain/attendance.ts. Null: not marked, or a row from before, for which its version counts.
ALTER TABLE bookings ADD attendance_said jsonb;
