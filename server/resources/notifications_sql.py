"""The statements of notifications: each one round trip, each with the user as a condition."""

# Position and rows in one statement have one snapshot. Two statements, not one with an optional
# condition: a generic plan would read a user's every notification to find the unread ones.
LIST = """
    SELECT (SELECT tailrace.position()) AS position,
      page.id::text, user_id, title, body, read_at IS NOT NULL AS read, created_at
    FROM (VALUES (1)) AS always LEFT JOIN (
      SELECT * FROM public.notifications WHERE user_id = $3 AND id < $1
      ORDER BY id DESC LIMIT $2
    ) AS page ON true ORDER BY page.id DESC"""
LIST_UNREAD = """
    SELECT (SELECT tailrace.position()) AS position,
      page.id::text, user_id, title, body, read_at IS NOT NULL AS read, created_at
    FROM (VALUES (1)) AS always LEFT JOIN (
      SELECT * FROM public.notifications WHERE user_id = $3 AND read_at IS NULL AND id < $1
      ORDER BY id DESC LIMIT $2
    ) AS page ON true ORDER BY page.id DESC"""

UNREAD = """
    SELECT id::text, user_id, title, body, false AS read, created_at
    FROM public.notifications WHERE user_id = $1 AND read_at IS NULL
    ORDER BY public.notifications.id DESC LIMIT $2"""

COUNT_UNREAD = """
    SELECT (SELECT tailrace.position()) AS position, count(*)
    FROM public.notifications WHERE user_id = $1 AND read_at IS NULL"""

# No row when there is no such user; the lock keeps the user until the notification is there.
CREATE = """
    INSERT INTO public.notifications (user_id, title, body)
    SELECT id, $2, $3 FROM public.users WHERE id = $1 FOR KEY SHARE
    RETURNING id::text, user_id, title, body, false AS read, created_at"""

# What is read already is not written again: that would be an event of no change. `true`, not the
# column: where somebody else marks it meanwhile, this statement's snapshot has it unread.
MARK_READ = """
    WITH changed AS (
      UPDATE public.notifications SET read_at = now()
      WHERE id = $1 AND user_id = $2 AND read_at IS NULL)
    SELECT id::text, user_id, title, body, true AS read, created_at
    FROM public.notifications WHERE id = $1 AND user_id = $2"""

MARK_ALL_READ = """
    WITH changed AS (
      UPDATE public.notifications SET read_at = now()
      WHERE user_id = $1 AND read_at IS NULL RETURNING 1)
    SELECT count(*) FROM changed"""

DELETE = """
    DELETE FROM public.notifications WHERE id = $1 AND user_id = $2 RETURNING id"""
