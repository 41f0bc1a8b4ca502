package jinja

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// strftime formats t as Python's datetime.strftime does on Linux in the C locale. %z and %Z are empty, since the
// time that templates see has no zone.
func strftime(t time.Time, format string) string {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 >= len(format) {
			b.WriteByte(format[i])
			continue
		}
		start := i
		i++
		flag := byte(0)
		for i < len(format) && strings.IndexByte("-_0^#", format[i]) >= 0 {
			flag = format[i]
			i++
		}
		width := 0
		for i < len(format) && decimal(format[i]) && width < 1000 {
			width = width*10 + int(format[i]-'0')
			i++
		}
		if i >= len(format) {
			b.WriteString(format[start:])
			break
		}
		s, ok := strftimeField(t, format[i], flag, width)
		if !ok {
			s = format[start : i+1]
		}
		b.WriteString(s)
	}
	return b.String()
}

func strftimeField(t time.Time, c, flag byte, width int) (string, bool) {
	num := func(n, digits int, fill byte) string {
		s := strconv.Itoa(n)
		switch flag {
		case '-':
			fill, digits = 0, 0
		case '_':
			fill = ' '
		case '0':
			fill = '0'
		}
		if width > 0 && flag != '-' {
			digits = width
		}
		for len(s) < digits {
			s = string(fill) + s
		}
		return s
	}
	text := func(s string) string {
		switch flag {
		case '^':
			s = strings.ToUpper(s)
		case '#':
			if c == 'p' || c == 'Z' {
				s = strings.ToLower(s)
			} else {
				s = strings.ToUpper(s)
			}
		}
		if len(s) < width {
			s = strings.Repeat(" ", width-len(s)) + s
		}
		return s
	}
	hour12 := (t.Hour()+11)%12 + 1
	isoYear, isoWeek := t.ISOWeek()
	weekday := int(t.Weekday())
	switch c {
	case 'a':
		return text(t.Format("Mon")), true
	case 'A':
		return text(t.Format("Monday")), true
	case 'b', 'h':
		return text(t.Format("Jan")), true
	case 'B':
		return text(t.Format("January")), true
	case 'c':
		return text(t.Format("Mon Jan _2 15:04:05 2006")), true
	case 'C':
		return num(t.Year()/100, 2, '0'), true
	case 'd':
		return num(t.Day(), 2, '0'), true
	case 'D', 'x':
		return text(t.Format("01/02/06")), true
	case 'e':
		return num(t.Day(), 2, ' '), true
	case 'f':
		return fmt.Sprintf("%06d", t.Nanosecond()/1000), true
	case 'F':
		return text(t.Format("2006-01-02")), true
	case 'g':
		return num(isoYear%100, 2, '0'), true
	case 'G':
		return num(isoYear, 1, '0'), true
	case 'H':
		return num(t.Hour(), 2, '0'), true
	case 'I':
		return num(hour12, 2, '0'), true
	case 'j':
		return num(t.YearDay(), 3, '0'), true
	case 'k':
		return num(t.Hour(), 2, ' '), true
	case 'l':
		return num(hour12, 2, ' '), true
	case 'm':
		return num(int(t.Month()), 2, '0'), true
	case 'M':
		return num(t.Minute(), 2, '0'), true
	case 'n':
		return "\n", true
	case 'p':
		return text(t.Format("PM")), true
	case 'P':
		return text(t.Format("pm")), true
	case 'r':
		return text(t.Format("03:04:05 PM")), true
	case 'R':
		return text(t.Format("15:04")), true
	case 's':
		return strconv.FormatInt(t.Unix(), 10), true
	case 'S':
		return num(t.Second(), 2, '0'), true
	case 't':
		return "\t", true
	case 'T', 'X':
		return text(t.Format("15:04:05")), true
	case 'u':
		return num((weekday+6)%7+1, 1, '0'), true
	case 'U':
		return num((t.YearDay()+6-weekday)/7, 2, '0'), true
	case 'V':
		return num(isoWeek, 2, '0'), true
	case 'w':
		return num(weekday, 1, '0'), true
	case 'W':
		return num((t.YearDay()+6-(weekday+6)%7)/7, 2, '0'), true
	case 'y':
		return num(t.Year()%100, 2, '0'), true
	case 'Y':
		return num(t.Year(), 1, '0'), true
	case 'z', 'Z':
		return "", true
	case '%':
		return "%", true
	}
	return "", false
}
