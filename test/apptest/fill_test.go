package apptest

import "reflect"

// fill gives every field of a kmsg request a small value that is not empty, so that each
// length and count in its bytes is there to lie about.
func fill(request any) { fillValue(reflect.ValueOf(request).Elem(), 0) }

func fillValue(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			name := v.Type().Field(i).Name
			if name == "Version" || name == "UnknownTags" || !v.Field(i).CanSet() {
				continue
			}
			fillValue(v.Field(i), depth+1)
		}
	case reflect.Slice:
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte("bytes"))
			return
		}
		one := reflect.MakeSlice(v.Type(), 1, 1)
		fillValue(one.Index(0), depth+1)
		v.Set(one)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillValue(v.Elem(), depth+1)
	case reflect.String:
		v.SetString("text")
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Bool:
		v.SetBool(true)
	}
}
